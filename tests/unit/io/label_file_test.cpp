// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/label_file.hpp>

#include <string>

#include <fmt/format.h>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

TEST_CASE("read_label_file reads EDM's dataset.json") {
  const TemporaryFolder folder;
  const auto labels = [&](const char* text) { return read_label_file(folder.add("dataset.json", text)); };
  CHECK(labels(R"({"labels": [["00000/b.png", 6], ["a.png", 0]]})") == FileLabels{{"00000/b.png", 6}, {"a.png", 0}});
  CHECK(labels(R"({"name": "more", "labels": []})") == FileLabels{});
  CHECK(labels(R"({"labels": null})") == std::nullopt);
}

TEST_CASE("read_label_file refuses what is no list of labels") {
  const TemporaryFolder folder;
  const auto refuses = [&](const char* text, const char* message) {
    const std::filesystem::path path = folder.add("dataset.json", text);
    CHECK_ERROR(DataError, fmt::format("read_label_file: {}: {}", path.string(), message), read_label_file(path));
  };
  refuses("", "expected JSON, got an error at byte 1");
  refuses(R"({"labels": [["a.png", 6])", "expected JSON, got an error at byte 25");
  refuses(R"({"labels": [["a.png", 1e999]]})",
          "expected JSON of numbers that double holds, got "
          "[json.exception.out_of_range.406] number overflow parsing '1e999'");
  refuses(R"({"labels": null, "x": 1e400})",
          "expected JSON of numbers that double holds, got "
          "[json.exception.out_of_range.406] number overflow parsing '1e400'");
  refuses("[]", "expected an object with \"labels\", got []");
  refuses(R"({"label": []})", R"(expected an object with "labels", got {"label":[]})");
  refuses(R"({"labels": {"a.png": 6}})", R"(expected a list or null as "labels", got {"a.png":6})");
  refuses(R"({"labels": [6]})", R"(expected ["path", class], got 6)");
  refuses(R"({"labels": [["a.png"]]})", R"(expected ["path", class], got ["a.png"])");
  refuses(R"({"labels": [[6, "a.png"]]})", R"(expected ["path", class], got [6,"a.png"])");
  refuses(R"({"labels": [["a.png", -1]]})", R"(expected a class from 0 to 2147483647 for "a.png", got -1)");
  refuses(R"({"labels": [["a.png", 1.5]]})", R"(expected a class from 0 to 2147483647 for "a.png", got 1.5)");
  refuses(R"({"labels": [["a.png", [0, 1]]]})", R"(expected a class from 0 to 2147483647 for "a.png", got [0,1])");
  refuses(R"({"labels": [["a.png", 2147483648]]})",
          R"(expected a class from 0 to 2147483647 for "a.png", got 2147483648)");
  refuses(std::string(100'000, '[').c_str(), "expected JSON of at most 64 levels, got more");
  refuses(R"({"labels": [["a.png", 1], ["b.png", 2], ["a.png", 1]]})", R"(expected each file once, got "a.png" again)");
  refuses(
      fmt::format("[{}]", fmt::join(std::string(90, '7'), ",")).c_str(),
      R"(expected an object with "labels", got [7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7...)");
  const std::filesystem::path path = folder.add("dataset.json", R"({"labels": []})");
  CHECK_ERROR(DataError, fmt::format("read_label_file: {}: expected at most 13 bytes, got more", path.string()),
              read_label_file(path, 13));
}

}  // namespace
}  // namespace patchdiff
