// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/read_file.hpp>

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "support/temporary_folder.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::read_file;

TEST_CASE("read_file gives all bytes of a file") {
  const TemporaryFolder folder;
  for (const std::size_t size : {0U, 1U, 65'536U, 200'000U}) {
    std::string text(size, '\0');
    for (std::size_t index = 0; index < size; ++index) text[index] = static_cast<char>(index * 31 % 251);
    const auto bytes = read_file(folder.add("a", text));
    CHECK(bytes.size() == size);
    CHECK(std::equal(bytes.begin(), bytes.end(), text.begin(), text.end(),
                     [](std::byte left, char right) { return left == static_cast<std::byte>(right); }));
  }
}

TEST_CASE("read_file reads files whose size the system does not tell") {
  if (std::filesystem::exists("/proc/self/maps")) CHECK(read_file("/proc/self/maps").size() > 0);
}

TEST_CASE("read_file refuses a file that is missing, a folder or too large") {
  const TemporaryFolder folder;
  CHECK_THROWS_MATCHES(read_file(folder / "none", {.component = "Reader"}), patchdiff::FileError,
                       Message(fmt::format("Reader: {}: expected a readable file, got \"No such file or directory\"",
                                           (folder / "none").string())));
  CHECK_THROWS_MATCHES(
      read_file(folder.path()), patchdiff::FileError,
      Message(fmt::format("read_file: {}: expected a readable file, got \"Is a directory\"", folder.path().string())));
  const auto path = folder.add("a", "12345");
  CHECK(read_file(path, {.maximum_bytes = 5}).size() == 5);
  CHECK_THROWS_MATCHES(read_file(path, {.maximum_bytes = 4}), patchdiff::DataError,
                       Message(fmt::format("read_file: {}: expected at most 4 bytes, got more", path.string())));
  if (std::filesystem::exists("/dev/zero")) {
    CHECK_THROWS_MATCHES(read_file("/dev/zero", {.maximum_bytes = 100'000}), patchdiff::DataError,
                         Message("read_file: /dev/zero: expected at most 100000 bytes, got more"));
  }
}
