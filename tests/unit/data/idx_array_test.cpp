// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/idx_array.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/gzip.hpp"
#include "support/temporary_folder.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::DataError;
using patchdiff::read_idx;
using patchdiff::Shape;

namespace {

std::string idx(const std::vector<std::uint32_t>& sizes, const std::string& values) {
  std::string text{'\0', '\0', '\x08', static_cast<char>(sizes.size())};
  for (const std::uint32_t size : sizes) {
    for (const int shift : {24, 16, 8, 0}) text.push_back(static_cast<char>(size >> shift & 0xFF));
  }
  return text + values;
}

}  // namespace

TEST_CASE("read_idx reads plain and compressed files") {
  const TemporaryFolder folder;
  const std::string images = idx({2, 1, 3}, "abcdef");
  for (const std::string& content : {images, gzip(images)}) {
    const auto array = read_idx(folder.add("a", content));
    CHECK(array.shape == Shape{2, 1, 3});
    CHECK(array.values == std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f'});
  }
  CHECK(read_idx(folder.add("a", idx({4}, "\x01\x02\x03\xFF")), {.rank = 1}).values ==
        std::vector<std::uint8_t>{1, 2, 3, 255});
  CHECK(read_idx(folder.add("a", idx({0, 28, 28}, ""))).shape == Shape{0, 28, 28});
  CHECK(read_idx(folder.add("a", idx({258}, std::string(258, 'x'))), {.rank = 1}).shape == Shape{258});
}

TEST_CASE("read_idx refuses whatever is not the file that was asked for") {
  const TemporaryFolder folder;
  const auto check = [&](const std::string& content, const patchdiff::IdxOptions& options, const std::string& message) {
    for (const std::string& stored : {content, gzip(content)}) {
      const auto path = folder.add("a", stored);
      CHECK_THROWS_MATCHES(read_idx(path, options), DataError,
                           Message(fmt::format("read_idx: {}: {}", path.string(), message)));
    }
  };
  check("", {}, "expected an IDX file of at least 4 bytes, got 0");
  check("abc", {}, "expected an IDX file of at least 4 bytes, got 3");
  check("\x89PNG", {}, "expected an IDX file that starts with 00 00, got 89 50");
  check(std::string("\0\0\x0D\x03", 4), {}, "expected unsigned bytes (type 08), got type 0d");
  check(idx({4}, "abcd"), {}, "expected 3 dimensions, got 1");
  check(idx({1, 2, 2}, "abcd"), {.rank = 1}, "expected 1 dimensions, got 3");
  check(idx({1, 2, 2}, "").substr(0, 15), {}, "expected a header of 16 bytes, got 15");
  check(idx({1, 2, 2}, "abc"), {}, "expected 4 bytes for [1, 2, 2], got 3");
  check(idx({1, 2, 2}, "abcde"), {}, "expected 4 bytes for [1, 2, 2], got more");
  check(idx({0, 2, 2}, "a"), {}, "expected 0 bytes for [0, 2, 2], got more");
  check(idx({0xFFFFFFFF}, "a"), {.rank = 1}, "expected 4294967295 bytes for [4294967295], got 1");
  check(idx({65536, 65536, 2}, ""), {}, "expected at most 4294967296 bytes, got [65536, 65536, 2]");
  // This product is 0 in 64 bits.
  check(idx({0x80000000, 0x80000000, 4}, ""), {.maximum_bytes = UINT64_MAX},
        "expected at most 18446744073709551615 bytes, got [2147483648, 2147483648, 4]");
}

TEST_CASE("read_idx stops at the maximum and at damaged or missing files") {
  const TemporaryFolder folder;
  const auto message = [](const std::filesystem::path& path, const std::string& text) {
    return Message(fmt::format("read_idx: {}: {}", path.string(), text));
  };
  const std::string content = idx({100, 100}, std::string(10'000, 'x'));
  CHECK_THROWS_MATCHES(read_idx(folder.add("a", content), {.rank = 2, .maximum_bytes = 9'999}), DataError,
                       message(folder / "a", "expected at most 9999 bytes, got more"));
  CHECK_THROWS_MATCHES(read_idx(folder.add("a", gzip(content)), {.rank = 2, .maximum_bytes = 9'999}), DataError,
                       message(folder / "a", "expected at most 9999 bytes, got [100, 100]"));
  const std::string half = gzip(content).substr(0, 30);
  CHECK_THROWS_MATCHES(read_idx(folder.add("a", half), {.rank = 2}), DataError,
                       message(folder / "a", "expected a whole gzip file, got one that ends early, after 30 bytes"));
  CHECK_THROWS_MATCHES(read_idx(folder / "none"), patchdiff::FileError,
                       message(folder / "none", "expected a readable file, got \"No such file or directory\""));
}

TEST_CASE("read_idx decompresses no more than the header announces") {
  const TemporaryFolder folder;
  const std::string bomb = gzip(idx({1, 1, 1}, std::string(50'000'000, '\0')));
  const auto path = folder.add("a", bomb.substr(0, 1000));  // what it decompresses to would be found to end early
  CHECK_THROWS_MATCHES(read_idx(path), DataError,
                       Message(fmt::format("read_idx: {}: expected 1 bytes for [1, 1, 1], got more", path.string())));
  // 2^64 - 8 bytes, which only a gzip file's reader would ask for.
  const std::string vast = idx({0x7FFFFFFF, 0x80000000, 2}, "");
  CHECK_THROWS_AS(read_idx(folder.add("b", gzip(vast)), {.maximum_bytes = UINT64_MAX}), DataError);
}
