// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/safetensors_writer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/io/safetensors_reader.hpp>

#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::DataError;
using patchdiff::SafetensorsEntry;
using patchdiff::SafetensorsReader;
using patchdiff::SafetensorsTensor;
using patchdiff::SafetensorsType;
using patchdiff::SafetensorsWriter;
using patchdiff::ShapeError;
using patchdiff::write_safetensors;

namespace {

const std::vector<float> floats{1.0F, -2.5F, 3.25F};
const std::vector<std::int64_t> integers{-7};
const std::vector<std::uint8_t> octets{1, 2, 3};

std::vector<SafetensorsTensor> sample() {
  return {{{"u", SafetensorsType::uint8, {3}}, std::as_bytes(std::span(octets))},
          {{"b/weight", SafetensorsType::float32, {3, 1}}, std::as_bytes(std::span(floats))},
          {{"a \"\\\n\xC3\xA9", SafetensorsType::float32, {3}}, std::as_bytes(std::span(floats))},
          {{"empty", SafetensorsType::float64, {2, 0}}, {}},
          {{"scalar", SafetensorsType::int64, {}}, std::as_bytes(std::span(integers))}};
}

std::span<const std::byte> zeros(std::size_t size) {
  static const std::vector<std::byte> bytes(1'000'000);
  return std::span(bytes).first(size);
}

}  // namespace

TEST_CASE("What SafetensorsWriter writes, SafetensorsReader reads") {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> metadata{{"kind", "test"}, {"text \"\t\"", "{\"a\": 1}\n\xE2\x82\xAC"}};
  write_safetensors(folder / "a", sample(), metadata);
  const SafetensorsReader reader{folder / "a"};
  CHECK(reader.metadata() == metadata);
  CHECK(reader.tensors().size() == 5);
  for (const SafetensorsTensor& tensor : sample()) {
    const SafetensorsTensor& read = reader.at(tensor.name);
    CHECK(static_cast<const SafetensorsEntry&>(read) == tensor);
    CHECK(std::equal(read.data.begin(), read.data.end(), tensor.data.begin(), tensor.data.end()));
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("SafetensorsWriter writes these bytes") {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", {sample()[0], sample()[4]}, {{"k", "value"}});
  const std::string header =
      R"({"__metadata__":{"k":"value"},"scalar":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("u":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
  CHECK(header.size() == 140);
  CHECK(folder.read("a") == std::string("\x90\0\0\0\0\0\0\0", 8) + header + "    " +
                                std::string("\xF9\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x02\x03"));
  write_safetensors(folder / "b", {});
  CHECK(folder.read("b") == std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
}

TEST_CASE("SafetensorsWriter gives equal bytes in whatever order the tensors are listed") {
  const TemporaryFolder folder;
  auto tensors = sample();
  write_safetensors(folder / "a", tensors);
  std::reverse(tensors.begin(), tensors.end());
  write_safetensors(folder / "b", tensors);
  CHECK(folder.read("a") == folder.read("b"));

  const SafetensorsReader reader{folder / "a"};
  std::vector<std::string> names;
  for (const auto& tensor : reader.tensors()) names.push_back(tensor.name);
  CHECK(names == std::vector<std::string>{"scalar", "empty", "a \"\\\n\xC3\xA9", "b/weight", "u"});
}

TEST_CASE("SafetensorsWriter aligns each tensor to its type") {
  const TemporaryFolder folder;
  for (const char* value : {"", "1", "12", "123", "1234", "12345", "123456", "1234567"}) {
    write_safetensors(folder / "a", sample(), {{"k", value}});
    const SafetensorsReader reader{folder / "a"};
    for (const auto& tensor : reader.tensors()) {
      CHECK(static_cast<std::size_t>(tensor.data.data() - reader.tensors().front().data.data()) %
                byte_size(tensor.type) ==
            0);
    }
    CHECK((folder.read("a").size() - 8 - 24 - 3) % 8 == 0);
  }
}

TEST_CASE("SafetensorsWriter takes tensors one by one") {
  const TemporaryFolder folder;
  SafetensorsWriter writer{folder / "a", {{"b", SafetensorsType::uint8, {1}}, {"a", SafetensorsType::uint8, {2}}}};
  REQUIRE(writer.entries().size() == 2);
  CHECK(writer.entries()[0].name == "a");

  CHECK_THROWS_MATCHES(writer.write(zeros(1)), ShapeError, Message("SafetensorsWriter: a: expected 2 bytes, got 1"));
  writer.write(zeros(2));
  CHECK_THROWS_MATCHES(writer.commit(), DataError,
                       Message("SafetensorsWriter: tensors: expected 2 calls of write, got 1"));
  writer.write(zeros(1));
  CHECK_THROWS_MATCHES(writer.write(zeros(1)), DataError,
                       Message("SafetensorsWriter: tensors: expected 2 calls of write, got one more"));
  CHECK_FALSE(std::filesystem::exists(folder / "a"));
  writer.commit();
  CHECK(SafetensorsReader{folder / "a"}.at("b").data.size() == 1);
}

TEST_CASE("SafetensorsWriter refuses names and shapes that cannot be written") {
  const TemporaryFolder folder;
  const auto write = [&](std::vector<SafetensorsEntry> entries, const std::map<std::string, std::string>& metadata) {
    SafetensorsWriter{folder / "a", std::move(entries), metadata};
  };
  const SafetensorsEntry entry{"w", SafetensorsType::float32, {2}};
  CHECK_THROWS_MATCHES(write({entry, entry}, {}), DataError,
                       Message("SafetensorsWriter: names: expected each name once, and none reserved, got \"w\""));
  CHECK_THROWS_MATCHES(
      write({{"__metadata__", SafetensorsType::float32, {}}}, {}), DataError,
      Message("SafetensorsWriter: names: expected each name once, and none reserved, got \"__metadata__\""));
  CHECK_THROWS_MATCHES(
      write({{"w", SafetensorsType::float32, {2, -1}}}, {}), ShapeError,
      Message("SafetensorsWriter: w: expected sizes of 0 or more, of less than 2^63 bytes, got [2, -1]"));
  CHECK_THROWS_MATCHES(
      write({{"w", SafetensorsType::float32, {std::int64_t{1} << 61}}}, {}), ShapeError,
      Message("SafetensorsWriter: w: expected sizes of 0 or more, of less than 2^63 bytes, got [2305843009213693952]"));
  CHECK_THROWS_MATCHES(write({{"w\xFF", SafetensorsType::float32, {}}}, {}), DataError,
                       Message("SafetensorsWriter: text: expected UTF-8, got \"w\\ufffd\""));
  CHECK_THROWS_MATCHES(write({}, {{"k", "\xC3"}}), DataError,
                       Message("SafetensorsWriter: text: expected UTF-8, got \"\\ufffd\""));
  CHECK(folder.count() == 0);
}

TEST_CASE("SafetensorsWriter refuses a folder that is not there") {
  const TemporaryFolder folder;
  const auto path = folder / "none/model.safetensors";
  CHECK_THROWS_MATCHES(write_safetensors(path, sample()), patchdiff::FileError,
                       Message(fmt::format("SafetensorsWriter: {}: expected a writable folder, got \"No such file or "
                                           "directory\"",
                                           path.string())));
}

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
TEST_CASE("SafetensorsWriter on a full disk keeps the earlier file") {
  const TemporaryFolder folder;
  const auto path = folder / "a";
  write_safetensors(path, sample());
  const std::string before = folder.read("a");
  const FileSizeLimit limit{100'000};
  CHECK_THROWS_MATCHES(
      write_safetensors(path, {{{"w", SafetensorsType::uint8, {1'000'000}}, zeros(1'000'000)}}), patchdiff::FileError,
      Message(fmt::format("SafetensorsWriter: {}: expected a complete write, got \"File too large\"", path.string())));
  CHECK(folder.read("a") == before);
  CHECK(folder.count() == 1);
}
#endif
