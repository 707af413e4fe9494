// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/gunzip.hpp>

#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/gzip.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::DataError;
using patchdiff::gunzip;

namespace {

std::string unpacked(const std::string& compressed, std::uint64_t most = 1'000'000) {
  const auto bytes = gunzip(std::as_bytes(std::span(compressed.data(), compressed.size())), "a.gz", most, "test");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string sample(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t index = 0; index < size; ++index) text[index] = static_cast<char>(index * index % 251);
  return text;
}

}  // namespace

TEST_CASE("gunzip gives back what was compressed") {
  for (const std::size_t size : {0U, 1U, 65'536U, 300'000U}) CHECK(unpacked(gzip(sample(size))) == sample(size));
  CHECK(unpacked(gzip("one ") + gzip("") + gzip("two")) == "one two");
}

TEST_CASE("gunzip stops at so many bytes") {
  const std::string bomb = gzip(std::string(50'000'000, '\0'));
  CHECK(bomb.size() < 60'000);
  CHECK(unpacked(bomb) == std::string(1'000'000, '\0'));
  CHECK(unpacked(bomb.substr(0, 30'000)) == std::string(1'000'000, '\0'));
  CHECK(unpacked(gzip("12345"), 5) == "12345");
  CHECK(unpacked(gzip("12345"), 4) == "1234");
  CHECK(unpacked(gzip("123") + gzip("45"), 4) == "1234");
  CHECK(unpacked(gzip("123"), 0).empty());
}

TEST_CASE("gunzip refuses every file that ends early") {
  const std::string whole = gzip(sample(1000));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_THROWS_MATCHES(
        unpacked(whole.substr(0, size)), DataError,
        Message(fmt::format("test: a.gz: expected a whole gzip file, got one that ends early, after {} bytes", size)));
  }
}

TEST_CASE("gunzip refuses damaged files") {
  const auto damaged = [](std::ptrdiff_t at) {
    std::string bytes = gzip(sample(1000));
    auto& byte = at < 0 ? bytes[bytes.size() - static_cast<std::size_t>(-at)] : bytes[static_cast<std::size_t>(at)];
    byte = static_cast<char>(byte ^ 0x55);
    return bytes;
  };
  CHECK_THROWS_MATCHES(unpacked(damaged(0)), DataError,
                       Message("test: a.gz: expected a sound gzip file, got \"incorrect header check\""));
  CHECK_THROWS_MATCHES(unpacked(damaged(-6)), DataError,
                       Message("test: a.gz: expected a sound gzip file, got \"incorrect data check\""));
  CHECK_THROWS_MATCHES(unpacked(damaged(-2)), DataError,
                       Message("test: a.gz: expected a sound gzip file, got \"incorrect length check\""));
  CHECK_THROWS_MATCHES(unpacked(gzip("x") + "trailing"), DataError,
                       Message("test: a.gz: expected a sound gzip file, got \"incorrect header check\""));
}
