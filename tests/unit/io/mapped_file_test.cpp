// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/mapped_file.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

std::string text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_CASE("MappedFile shows a file's bytes, and moves") {
  const TemporaryFolder folder;
  MappedFile file(folder.add("a", std::string_view("one\0two", 7)));
  CHECK(text(file) == std::string("one\0two", 7));
  const std::byte* at = file.bytes().data();
  MappedFile moved(std::move(file));
  CHECK(moved.bytes().data() == at);
  CHECK(file.bytes().empty());  // NOLINT(bugprone-use-after-move): a moved one is empty
  MappedFile other(folder.add("b", "three"));
  other = std::move(moved);
  CHECK(text(other) == std::string("one\0two", 7));
  CHECK(MappedFile(folder.add("empty", "")).bytes().empty());
}

TEST_CASE("MappedFile outlives the file's name") {
  const TemporaryFolder folder;
  const MappedFile file(folder.add("a", "still here"));
  std::filesystem::remove(folder / "a");
  CHECK(text(file) == "still here");
}

TEST_CASE("MappedFile shows bytes again whose memory was given back") {
  const TemporaryFolder folder;
  std::string long_text(20'001, 'a');
  long_text.back() = 'b';
  const MappedFile file(folder.add("a", long_text));
  CHECK(text(file) == long_text);
  file.release(file.bytes());
  file.release(file.bytes().subspan(5'000, 9'000));
  file.release({});
  CHECK(text(file) == long_text);
}

TEST_CASE("MappedFile refuses what it cannot read") {
  const TemporaryFolder folder;
  const std::string missing = (folder / "missing").string();
  CHECK_ERROR(FileError, "Reader: " + missing + ": expected a readable file, got \"No such file or directory\"",
              MappedFile(missing, "Reader"));
  CHECK_ERROR(FileError,
              "MappedFile: " + folder.path().string() + ": expected a regular file, got a folder or a device",
              MappedFile(folder.path()));
}

}  // namespace
}  // namespace patchdiff
