// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/safetensors_reader.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "support/temporary_folder.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::DataError;
using patchdiff::SafetensorsReader;
using patchdiff::SafetensorsType;
using patchdiff::Shape;

namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

std::vector<std::byte> with_length(std::uint64_t length, const std::string& rest) {
  std::string text(sizeof length, '\0');
  std::memcpy(text.data(), &length, sizeof length);
  return bytes_of(text + rest);
}

SafetensorsReader read(const std::string& header, const std::string& data = "") {
  return {with_length(header.size(), header + data), "f"};
}

/// A header with one tensor "w" of these facts.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return fmt::format(R"({{"w":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
}

void check_refused(const std::string& header, const std::string& data, const std::string& message) {
  CAPTURE(header);
  CHECK_THROWS_MATCHES(read(header, data), DataError, Message("SafetensorsReader: f: " + message));
}

template <class... Values>
std::string raw(Values... values) {
  std::string text;
  (text.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
  return text;
}

}  // namespace

TEST_CASE("SafetensorsReader gives metadata and tensors as they lie in the file") {
  const std::string header =
      R"({"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},"__metadata__":{"z":"1","a":"\u00e9\n"},)"
      R"( "a":{"shape":[2,1],"data_offsets":[0,8],"dtype":"F32"},)"
      R"( "none":{"dtype":"U8","shape":[0,7],"data_offsets":[16,16]} }  )";
  const SafetensorsReader reader = read(header, raw(1.5F, -2.0F, std::int64_t{-7}));

  CHECK(reader.metadata() == std::map<std::string, std::string>{{"a", "\xC3\xA9\n"}, {"z", "1"}});
  REQUIRE(reader.tensors().size() == 3);
  CHECK(reader.tensors()[0].name == "a");
  CHECK(reader.tensors()[0].type == SafetensorsType::float32);
  CHECK(reader.tensors()[0].shape == Shape{2, 1});
  CHECK(reader.tensors()[0].values<float>() == std::vector<float>{1.5F, -2.0F});
  CHECK(reader.tensors()[1].name == "b");
  CHECK(reader.tensors()[1].shape.empty());
  CHECK(reader.tensors()[1].values<std::int64_t>() == std::vector<std::int64_t>{-7});
  CHECK(reader.tensors()[2].shape == Shape{0, 7});
  CHECK(reader.tensors()[2].data.empty());

  CHECK(reader.find("b") == &reader.tensors()[1]);
  CHECK(reader.find("c") == nullptr);
  CHECK(&reader.at("a") == &reader.tensors()[0]);
  CHECK_THROWS_MATCHES(reader.at("c"), DataError,
                       Message("SafetensorsReader: f: expected a tensor \"c\", got 3 others"));
}

TEST_CASE("SafetensorsReader takes files without tensors and without metadata") {
  const auto reader = read("{}");
  CHECK(reader.tensors().empty());
  CHECK(reader.metadata().empty());
  CHECK(read(R"({"__metadata__":{}})").metadata().empty());
}

TEST_CASE("SafetensorsReader knows all types") {
  const std::vector<std::pair<std::string, std::size_t>> types{{"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"I16", 2},
                                                               {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"F32", 4},
                                                               {"F64", 8},  {"I64", 8}};
  for (const auto& [name, size] : types) {
    const auto reader =
        read(one('"' + name + '"', "[1,2]", fmt::format("[0,{}]", 2 * size)), std::string(2 * size, 'x'));
    CHECK(to_string(reader.at("w").type) == name);
    CHECK(byte_size(reader.at("w").type) == size);
    CHECK(reader.at("w").data.size() == 2 * size);
  }
}

TEST_CASE("SafetensorsTensor converts floating point and I64") {
  const auto f32 = read(one("\"F32\"", "[2]", "[0,8]"), raw(0.1F, -3.0F));
  CHECK(f32.at("w").values<double>() == std::vector<double>{static_cast<double>(0.1F), -3.0});
  const auto f64 = read(one("\"F64\"", "[2]", "[0,16]"), raw(0.1, 1e300));
  CHECK(f64.at("w").values<double>() == std::vector<double>{0.1, 1e300});
  const auto i64 = read(one("\"I64\"", "[2]", "[0,16]"), raw(std::int64_t{1} << 60, std::int64_t{-3}));
  CHECK(i64.at("w").values<std::int64_t>() == std::vector<std::int64_t>{std::int64_t{1} << 60, -3});
  CHECK(i64.at("w").values<float>() == std::vector<float>{0x1p60F, -3.0F});
  const auto f64_small = read(one("\"F64\"", "[1]", "[0,8]"), raw(0.1));
  CHECK(f64_small.at("w").values<float>() == std::vector<float>{0.1F});

  CHECK_THROWS_MATCHES(f32.at("w").values<std::int64_t>(), DataError,
                       Message("SafetensorsTensor: w: expected I64, got F32"));
  const auto i32 = read(one("\"I32\"", "[1]", "[0,4]"), "xxxx");
  CHECK_THROWS_MATCHES(i32.at("w").values<float>(), DataError,
                       Message("SafetensorsTensor: w: expected F64, F32, F16, BF16 or I64, got I32"));
}

TEST_CASE("SafetensorsTensor has numbers where it converts them to floating point") {
  int numbers = 0;
  for (const char* name : {"BOOL", "U8", "I8", "I16", "F16", "BF16", "I32", "F32", "F64", "I64"}) {
    CAPTURE(name);
    const auto reader = read(one(fmt::format("\"{}\"", name), "[0]", "[0,0]"), "");
    const patchdiff::SafetensorsTensor& tensor = reader.at("w");
    numbers += tensor.has_numbers() ? 1 : 0;
    if (tensor.has_numbers()) {
      CHECK(tensor.values<float>().empty());
    } else {
      CHECK_THROWS_AS(tensor.values<float>(), DataError);
    }
  }
  CHECK(numbers == 5);
}

TEST_CASE("SafetensorsTensor converts halves of both kinds, exactly") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  // 1, -2, the largest, the smallest normal, the smallest, the largest below normal, -0, infinities, not a number
  const std::vector<std::uint16_t> f16{0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x83FF, 0x8000, 0x7C00, 0xFC00, 0x7E01};
  const auto half =
      read(one("\"F16\"", "[10]", "[0,20]"), std::string(reinterpret_cast<const char*>(f16.data()), f16.size() * 2));
  const std::vector<float> found = half.at("w").values<float>();
  const std::vector<float> expected{1, -2, 65504, 0x1p-14F, 0x1p-24F, -0x3FFp-24F, -0.0F, infinity, -infinity};
  REQUIRE(found.size() == 10);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(found[i] == expected[i]);
    CHECK(std::signbit(found[i]) == std::signbit(expected[i]));
  }
  CHECK(std::isnan(found[9]));
  CHECK(half.at("w").values<double>()[2] == 65504);

  const auto bf16 =
      read(one("\"BF16\"", "[3]", "[0,6]"), raw(std::uint16_t{0x3F80}, std::uint16_t{0xC049}, std::uint16_t{0x7F80}));
  CHECK(bf16.at("w").values<float>() == std::vector<float>{1, -3.140625F, infinity});
  CHECK_THROWS_MATCHES(bf16.at("w").values<std::int64_t>(), DataError,
                       Message("SafetensorsTensor: w: expected I64, got BF16"));
}

TEST_CASE("SafetensorsTensor converts data that is not aligned") {
  const auto reader = read(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                           R"("b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}})",
                           "x" + raw(2.5));
  CHECK(reader.at("b").values<double>() == std::vector<double>{2.5});
}

TEST_CASE("SafetensorsTensor gives some of its rows") {
  const auto reader = read(one("\"F32\"", "[3,2]", "[0,24]"), raw(1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F));
  const auto rows = reader.at("w").rows(1, 2);
  CHECK(rows.shape == Shape{2, 2});
  CHECK(rows.values<float>() == std::vector<float>{3, 4, 5, 6});
  CHECK(reader.at("w").rows(3, 0).values<float>().empty());
  const auto check = [&](std::int64_t first, std::int64_t count) { reader.at("w").rows(first, count); };
  CHECK_THROWS_MATCHES(check(2, 2), patchdiff::ShapeError,
                       Message("SafetensorsTensor: w: expected 2 rows from 2 on, got [3, 2]"));
  CHECK_THROWS_AS(check(-1, 1), patchdiff::ShapeError);
  const auto scalar = read(one("\"F32\"", "[]", "[0,4]"), raw(1.0F));
  CHECK_THROWS_AS(scalar.at("w").rows(0, 1), patchdiff::ShapeError);
}

TEST_CASE("SafetensorsReader keeps its tensors when it is moved and is not copied") {
  static_assert(!std::is_copy_constructible_v<SafetensorsReader> && !std::is_copy_assignable_v<SafetensorsReader>);
  auto first = read(one("\"F32\"", "[1]", "[0,4]"), raw(1.5F));
  const SafetensorsReader second = std::move(first);
  CHECK(second.at("w").values<float>() == std::vector<float>{1.5F});

  const TemporaryFolder folder;
  const std::string header = one("\"F32\"", "[1]", "[0,4]");
  const std::vector<std::byte> bytes = with_length(header.size(), header + raw(2.5F));
  SafetensorsReader mapped(folder.add("f", {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  const SafetensorsReader moved = std::move(mapped);
  std::filesystem::remove(folder / "f");
  CHECK(moved.at("w").values<float>() == std::vector<float>{2.5F});
}

TEST_CASE("SafetensorsReader reads from a file and names it") {
  const TemporaryFolder folder;
  const auto path = folder.add("a.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
  CHECK(SafetensorsReader{path}.metadata().empty());
  folder.add("a.safetensors", "text");
  CHECK_THROWS_MATCHES(SafetensorsReader{path}, DataError,
                       Message(fmt::format("SafetensorsReader: {}: expected at least 8 bytes, got 4", path.string())));
  CHECK_THROWS_MATCHES(SafetensorsReader{folder / "none"}, patchdiff::FileError,
                       Message(fmt::format("SafetensorsReader: {}: expected a readable file, got \"No such file or "
                                           "directory\"",
                                           (folder / "none").string())));
}

TEST_CASE("SafetensorsReader refuses a length that does not fit the file") {
  const auto length = [](std::uint64_t value, std::size_t size) {
    return SafetensorsReader{with_length(value, std::string(size, ' ')), "f"};
  };
  CHECK_THROWS_MATCHES(length(3, 2), DataError,
                       Message("SafetensorsReader: f: expected a header of at most 2 bytes, got 3"));
  CHECK_THROWS_MATCHES(length(UINT64_MAX, 2), DataError,
                       Message("SafetensorsReader: f: expected a header of at most 2 bytes, got 18446744073709551615"));
  CHECK_THROWS_MATCHES(length(100'000'001, 100'000'001), DataError,
                       Message("SafetensorsReader: f: expected a header of at most 100000000 bytes, got 100000001"));
}

TEST_CASE("SafetensorsReader tells what else a file of weights may be") {
  const auto message = [](const std::string& text) {
    try {
      const SafetensorsReader file(bytes_of(text), "f");
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(
      message(std::string("PK\x03\x04\0\0\x08\x08\0\0", 10)) ==
      "SafetensorsReader: f: expected a header of at most 2 bytes, got a ZIP archive, as TorchScript and PyTorch's own "
      "files are");
  CHECK(message("\x80\x04\x95 a pickle") ==
        "SafetensorsReader: f: expected a header of at most 4 bytes, got a pickle, as of Python");
}

TEST_CASE("SafetensorsReader refuses headers that are not JSON") {
  check_refused("", "", "expected a header that starts with {, got something else");
  check_refused(" {}", "", "expected a header that starts with {, got something else");
  check_refused("[]", "", "expected a header that starts with {, got something else");
  check_refused("{", "", "expected a header of JSON, got an error at byte 2");
  check_refused("{}x", "", "expected a header of JSON, got an error at byte 3");
  check_refused("{}{}", "", "expected a header of JSON, got an error at byte 3");
  check_refused("{\"\xFF\":{}}", "", "expected a header of JSON, got an error at byte 3");
  check_refused(std::string("{}\0", 3), "", "expected a header of JSON, got a zero byte at byte 2");
}

TEST_CASE("SafetensorsReader refuses values of the wrong kind") {
  check_refused(R"({"w":5})", "", "expected an object for \"w\", got 5");
  check_refused(R"({"w":-5})", "", "expected an object for \"w\", got -5");
  check_refused(R"({"w":null})", "", "expected an object for \"w\", got null");
  check_refused(R"({"w":true})", "", "expected an object for \"w\", got a boolean");
  check_refused(R"({"w":"x"})", "", "expected an object for \"w\", got a string");
  check_refused(R"({"w":[]})", "", "expected an object for \"w\", got a list");
  check_refused(R"({"__metadata__":[]})", "", "expected an object for \"__metadata__\", got a list");
  check_refused(R"({"__metadata__":{"k":1}})", "", "expected a string for \"k\" in the metadata, got 1");
  check_refused(R"({"__metadata__":{"k":{}}})", "", "expected a string for \"k\" in the metadata, got an object");
  check_refused(R"({"w":{"dtype":{}}})", "", "expected a known dtype of \"w\", got an object");
  check_refused(R"({"w":{"shape":"x"}})", "", "expected a list as shape of \"w\", got a string");
  check_refused(R"({"w":{"data_offsets":0}})", "", "expected a list as data_offsets of \"w\", got 0");
  check_refused(R"({"w":{"x":0}})", "", "expected dtype, shape and data_offsets of \"w\", got \"x\"");
  check_refused(R"({"w":{"dtype":"F32","shape":[]}})", "",
                "expected dtype, shape and data_offsets of \"w\", got 2 of them");
  check_refused(R"({"w":{}})", "", "expected dtype, shape and data_offsets of \"w\", got 0 of them");
}

TEST_CASE("SafetensorsReader refuses unknown types") {
  check_refused(one("\"F8_E4M3\"", "[1]", "[0,1]"), "x", "expected a known dtype of \"w\", got \"F8_E4M3\"");
  check_refused(one("\"f32\"", "[1]", "[0,4]"), "xxxx", "expected a known dtype of \"w\", got \"f32\"");
  check_refused(one("32", "[1]", "[0,4]"), "xxxx", "expected a known dtype of \"w\", got 32");
}

TEST_CASE("SafetensorsReader refuses bad shapes") {
  check_refused(one("\"U8\"", "[-1]", "[0,1]"), "x", "expected whole sizes in the shape of \"w\", got -1");
  check_refused(one("\"U8\"", "[1.0]", "[0,1]"), "x", "expected whole sizes in the shape of \"w\", got 1.0");
  check_refused(one("\"U8\"", "[\"1\"]", "[0,1]"), "x", "expected whole sizes in the shape of \"w\", got a string");
  check_refused(one("\"U8\"", "[[1]]", "[0,1]"), "x", "expected whole sizes in the shape of \"w\", got a list");
  check_refused(one("\"U8\"", "[9223372036854775808]", "[0,1]"), "x",
                "expected whole sizes in the shape of \"w\", got 9223372036854775808");
  check_refused(one("\"U8\"", "[99999999999999999999]", "[0,1]"), "x",
                "expected whole sizes in the shape of \"w\", got 99999999999999999999");
  check_refused(one("\"F32\"", "[2]", "[0,4]"), "xxxx", "expected 4 bytes of \"w\", got F32 of shape [2]");
  check_refused(one("\"F32\"", "[]", "[0,0]"), "", "expected 0 bytes of \"w\", got F32 of shape []");
  // Each of these products is 0 or 4 in 64 bits.
  check_refused(one("\"F32\"", "[4294967296,4294967296]", "[0,0]"), "",
                "expected 0 bytes of \"w\", got F32 of shape [4294967296, 4294967296]");
  check_refused(one("\"F32\"", "[4611686018427387905]", "[0,4]"), "xxxx",
                "expected 4 bytes of \"w\", got F32 of shape [4611686018427387905]");
  check_refused(one("\"U8\"", "[4294967296,4294967296,0]", "[0,0]"), "",
                "expected 0 bytes of \"w\", got U8 of shape [4294967296, 4294967296, 0]");
}

TEST_CASE("SafetensorsReader refuses bad offsets") {
  check_refused(one("\"U8\"", "[1]", "[0]"), "x", "expected two whole data_offsets of \"w\", got 1 of them");
  check_refused(one("\"U8\"", "[1]", "[]"), "x", "expected two whole data_offsets of \"w\", got 0 of them");
  check_refused(one("\"U8\"", "[1]", "[0,1,2]"), "x", "expected two whole data_offsets of \"w\", got 2");
  check_refused(one("\"U8\"", "[1]", "[-1,0]"), "x", "expected two whole data_offsets of \"w\", got -1");
  check_refused(one("\"U8\"", "[1]", "[0,1e0]"), "x", "expected two whole data_offsets of \"w\", got 1e0");
  check_refused(one("\"U8\"", "[1]", "[0,2]"), "x", "expected data_offsets of \"w\" in 1 bytes, got [0, 2]");
  check_refused(one("\"U8\"", "[1]", "[1,0]"), "x", "expected data_offsets of \"w\" in 1 bytes, got [1, 0]");
  check_refused(one("\"U8\"", "[1]", "[18446744073709551615,0]"), "x",
                "expected data_offsets of \"w\" in 1 bytes, got [18446744073709551615, 0]");
  check_refused(one("\"U8\"", "[1]", "[1,2]"), "xx", "expected \"w\" to start at byte 0, got 1");
  check_refused(one("\"U8\"", "[1]", "[0,1]"), "xx", "expected 1 bytes of data, got 2");
  check_refused("{}", "x", "expected 0 bytes of data, got 1");

  const auto two = [](const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":)" +
           second + "}}";
  };
  CHECK_NOTHROW(read(two("[2,4]"), "xxxx"));
  check_refused(two("[1,3]"), "xxx", "expected \"b\" to start at byte 2, got 1");
  check_refused(two("[0,2]"), "xx", "expected \"b\" to start at byte 2, got 0");
  check_refused(two("[3,5]"), "xxxxx", "expected \"b\" to start at byte 2, got 3");
}

TEST_CASE("SafetensorsReader refuses keys that come twice") {
  const std::string tensor = R"("w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  check_refused("{" + tensor + "," + tensor + "}", "", "expected each tensor once, got \"w\" again");
  check_refused(R"({"__metadata__":{},"__metadata__":{}})", "",
                "expected each tensor once, got \"__metadata__\" again");
  check_refused(R"({"__metadata__":{"k":"1","k":"2"}})", "",
                "expected each key of \"__metadata__\" once, got \"k\" again");
  check_refused(R"({"w":{"dtype":"U8","dtype":"U8"}})", "", "expected each key of \"w\" once, got \"dtype\" again");
}

TEST_CASE("SafetensorsReader stops at the first level that does not belong") {
  const std::string lists(1'000'000, '[');
  check_refused(R"({"w":)" + lists, "", "expected an object for \"w\", got a list");
  check_refused(R"({"w":{"dtype":"U8","shape":)" + lists, "", "expected whole sizes in the shape of \"w\", got a list");
}

TEST_CASE("SafetensorsReader survives every cut and every changed byte of a small file") {
  const std::string header = one("\"F32\"", "[2]", "[0,8]") + "  ";
  const std::vector<std::byte> whole = with_length(header.size(), header + raw(1.0F, 2.0F));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK_THROWS_AS((SafetensorsReader{cut, "f"}), DataError);
  }
  int refused = 0;
  std::size_t seen = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      auto changed = whole;
      changed[at] = static_cast<std::byte>(value);
      try {
        const SafetensorsReader reader{changed, "f"};
        for (const auto& tensor : reader.tensors()) {
          for (const std::byte byte : tensor.data) seen += std::to_integer<std::size_t>(byte);
        }
      } catch (const DataError&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 10'000);
  CHECK(seen > 0);
}
