// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/tensorboard_log.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>

#include "support/errors.hpp"
#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

TensorBoardLogOptions options(const TemporaryFolder& folder, double wall_time = 1.5) {
  return {.folder = folder.path(), .host = "node", .wall_time = [wall_time]() { return wall_time; }};
}

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

// Two records by hand; their checksums are those of the package tensorboard.
const std::string version_record =
    "1800000000000000"  // 24 bytes follow
    "a37f4b22"          // masked checksum of these 8 bytes
    "09"
    "000000000000f83f"  // field 1, double: wall time 1.5
    "1a"
    "0d"
    "627261696e2e4576656e743a32"  // field 3, 13 bytes: brain.Event:2
    "2a28646c";                   // masked checksum of the 24 bytes
const std::string loss_record =
    "1b00000000000000"
    "1a0d9e13"
    "09"
    "0000000000000040"  // wall time 2
    "10"
    "ac02"  // field 2, varint: step 300
    "2a"
    "0d"  // field 5, 13 bytes: summary
    "0a"
    "0b"  // its field 1, 11 bytes: value
    "0a"
    "04"
    "6c6f7373"  // its field 1: tag "loss"
    "15"
    "0000003f"  // its field 2, float: 0.5
    "dfc52b60";

TEST_CASE("TensorBoardLog writes records as TensorBoard reads them") {
  const TemporaryFolder folder;
  double now = 1.5;
  TensorBoardLog log({.folder = folder.path(), .host = "node", .wall_time = [&]() { return now; }});
  CHECK(log.path() == folder / "events.out.tfevents.0000000001.node.000");
  const auto content = [&] { return hex(folder.read("events.out.tfevents.0000000001.node.000")); };
  CHECK(content() == version_record);
  now = 2;
  log.append(300, {{"loss", 0.5}});
  log.sync();
  CHECK(content() == version_record + loss_record);
}

TEST_CASE("protocol buffers hold numbers as the encoding guide says") {
  const auto integer = [](std::int64_t value) { return hex(ProtobufMessage().add_integer(1, value).bytes()); };
  CHECK(integer(0) == "0800");
  CHECK(integer(127) == "087f");
  CHECK(integer(128) == "088001");
  CHECK(integer(150) == "089601");
  CHECK(integer(-1) == "08ffffffffffffffffff01");
  CHECK(integer(std::numeric_limits<std::int64_t>::max()) == "08ffffffffffffffff7f");
  CHECK(hex(ProtobufMessage().add_bytes(2, "testing").bytes()) == "120774657374696e67");
  CHECK(hex(ProtobufMessage().add_integer(16, 1).bytes()) == "800101");
}

TEST_CASE("TensorBoardLog writes pictures as PNG, with their sizes") {
  const TemporaryFolder folder;
  const Picture picture{{3, 2, 5}, std::vector<std::uint8_t>(30, 7)};
  TensorBoardLog log(options(folder));
  log.append(1, "samples", picture);
  const std::vector<std::byte> png = encode_png(picture);
  const std::string bytes(reinterpret_cast<const char*>(png.data()), png.size());
  const std::string content = hex(folder.read(log.path().filename().string()));
  // Image: height 2, width 5, colour space 3, the encoded picture.
  CHECK(content.find("0a0773616d706c6573"
                     "22" +
                     hex({static_cast<char>(png.size() + 8)}) +
                     "0802"
                     "1005"
                     "1803"
                     "22" +
                     hex({static_cast<char>(png.size())}) + hex(bytes)) != std::string::npos);
  CHECK(png.size() + 8 < 128);
}

TEST_CASE("a run that goes on opens a new file that comes after the others") {
  const TemporaryFolder folder;
  const TensorBoardLog first(options(folder, 9)), same_second(options(folder, 9.5)), later(options(folder, 10));
  CHECK(first.path().filename() == "events.out.tfevents.0000000009.node.000");
  CHECK(same_second.path().filename() == "events.out.tfevents.0000000009.node.001");
  CHECK(later.path().filename() == "events.out.tfevents.0000000010.node.000");
  auto resumed = options(folder, 11);
  resumed.first_step = 20;
  const TensorBoardLog log(resumed);
  // Field 2: step 20; field 7: a session whose field 1, the status, is 1, start.
  CHECK(hex(folder.read("events.out.tfevents.0000000011.node.000"))
            .find("1014"
                  "3a02"
                  "0801") != std::string::npos);
}

TEST_CASE("TensorBoardLog refuses what does not fit") {
  const TemporaryFolder folder;
  auto no_host = options(folder), no_clock = options(folder), no_folder = options(folder);
  no_host.host = "";
  CHECK_ERROR(ConfigError, "TensorBoardLog: host: expected a name without slashes, got \"\"", TensorBoardLog(no_host));
  no_host.host = "../a";
  CHECK_ERROR(ConfigError, "TensorBoardLog: host: expected a name without slashes, got \"../a\"",
              TensorBoardLog(no_host));
  no_clock.wall_time = nullptr;
  CHECK_ERROR(ConfigError, "TensorBoardLog: wall_time: expected a function, got none", TensorBoardLog(no_clock));
  CHECK(folder.count() == 0);
  no_folder.folder = folder / "none";
  CHECK_ERROR(FileError,
              fmt::format("TensorBoardLog: {}: expected a writable folder, got \"No such file or directory\"",
                          (folder / "none/events.out.tfevents.0000000001.node.000").string()),
              TensorBoardLog(no_folder));
  TensorBoardLog log(options(folder));
  CHECK_ERROR(DataError, "TensorBoardLog: tag: expected a name, got \"\"", log.append(1, {{"", 1.0}}));
  CHECK_ERROR(DataError, "TensorBoardLog: text: expected UTF-8, got \"\\ufffd\"", log.append(1, {{"\xFF", 1.0}}));
  CHECK_THROWS_AS(log.append(1, "picture", Picture{}), ShapeError);
  CHECK(hex(folder.read(log.path().filename().string())) == version_record);
}

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
TEST_CASE("TensorBoardLog on a full disk ends with its last whole record and goes on when there is room") {
  const TemporaryFolder folder;
  double now = 1.5;
  TensorBoardLog log({.folder = folder.path(), .host = "node", .wall_time = [&]() { return now; }});
  now = 2;
  {
    const FileSizeLimit limit{50};
    CHECK_ERROR(
        FileError,
        fmt::format("TensorBoardLog: {}: expected a complete record, got \"File too large\"", log.path().string()),
        log.append(300, {{"loss", 0.5}}));
  }
  log.append(300, {{"loss", 0.5}});
  CHECK(hex(folder.read(log.path().filename().string())) == version_record + loss_record);
}
#endif

}  // namespace
}  // namespace patchdiff
