// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

TEST_CASE("MappedFile reads what it maps, and tells where the file was cut off") {
  const TemporaryFolder folder;
  std::string long_text(20'001, 'a');
  long_text.back() = 'b';
  const std::string path = folder.add("a", long_text).string();
  const MappedFile file(path);
  const auto whole = file.read(file.bytes());
  CHECK(std::string_view(reinterpret_cast<const char*>(whole.data()), whole.size()) == long_text);
  CHECK(file.read(file.bytes().last(1)) == std::vector{std::byte{'b'}});
  CHECK(file.read({}).empty());
  std::filesystem::resize_file(path, 4096);
  CHECK(file.read(file.bytes().first(4096)).size() == 4096);
  const std::string message =
      "MappedFile: " + path + ": expected a file that stays as it was opened, got one that was written to meanwhile";
  CHECK_ERROR(DataError, message, file.read(file.bytes().first(4097)));
  CHECK_ERROR(DataError, message, file.read(file.bytes().last(1)));
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
