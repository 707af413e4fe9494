// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/json_lines_log.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <patchdiff/core/error.hpp>

#include "support/errors.hpp"
#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

TEST_CASE("JsonLinesLog shows each object at once, in the order of its fields") {
  const TemporaryFolder folder;
  JsonLinesLog log(folder / "log.jsonl");
  CHECK(folder.read("log.jsonl").empty());
  log.append({{"step", 1}, {"loss", 0.5}, {"patch", "16x16"}, {"finite", true}});
  const std::string first = R"({"step":1,"loss":0.5,"patch":"16x16","finite":true})"
                            "\n";
  CHECK(folder.read("log.jsonl") == first);
  log.append({});
  log.sync();
  log.append({{"b", 2}, {"a", std::string("line\n\"ä\"")}});
  CHECK(folder.read("log.jsonl") == first + "{}\n{\"b\":2,\"a\":\"line\\n\\\"ä\\\"\"}\n");
}

TEST_CASE("JsonLinesLog writes numbers that read back as the same value") {
  const TemporaryFolder folder;
  JsonLinesLog log(folder / "log.jsonl");
  const double values[] = {0.1, 1.0 / 3.0, 5e-324, std::numeric_limits<double>::max(), -1e-7, 1e22};
  for (const double value : values) log.append({{"x", value}});
  std::istringstream lines(folder.read("log.jsonl"));
  for (const double value : values) {
    std::string line;
    REQUIRE(std::getline(lines, line));
    CHECK(nlohmann::json::parse(line).at("x").get<double>() == value);
  }
  JsonLinesLog special(folder / "special.jsonl");
  special.append({{"x", 0.1F}, {"y", std::nan("")}, {"z", -std::numeric_limits<float>::infinity()}});
  special.append({{"x", std::uint64_t{18446744073709551615U}}, {"y", std::int64_t{-9223372036854775807}}});
  CHECK(folder.read("special.jsonl") ==
        "{\"x\":0.1,\"y\":null,\"z\":null}\n{\"x\":18446744073709551615,\"y\":-9223372036854775807}\n");
}

TEST_CASE("JsonLinesLog continues a log") {
  const TemporaryFolder folder;
  const auto reopened = [&](const std::string& content) {
    JsonLinesLog(folder.add("log.jsonl", content)).append({{"b", 2}});
    return folder.read("log.jsonl");
  };
  CHECK(reopened("{\"a\":1}\n") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(reopened("{\"a\":1}\n{\"a\":") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(reopened("{\"a\"") == "{\"b\":2}\n");
  CHECK(reopened("{\"a\":1}") == "{\"a\":1}\n{\"b\":2}\n");
  CHECK(reopened("{\"a\":1}\n{\"a\":2}") == "{\"a\":1}\n{\"a\":2}\n{\"b\":2}\n");
  CHECK(reopened("") == "{\"b\":2}\n");
}

TEST_CASE("JsonLinesLog refuses and keeps any other file") {
  const TemporaryFolder folder;
  for (const std::string content : {"step,loss\n1,1\n", "weights", "\n", "[1]\n", "{\"a\":1\n"}) {
    const auto path = folder.add("log.jsonl", content);
    CHECK_ERROR(DataError,
                fmt::format("JsonLinesLog: {}: expected a log of JSON objects, got \"{}\"", path.string(),
                            content.substr(0, content.find('\n'))),
                JsonLinesLog(path));
    CHECK(folder.read("log.jsonl") == content);
  }
}

TEST_CASE("JsonLinesLog refuses what is no JSON object, and what it cannot write") {
  const TemporaryFolder folder;
  JsonLinesLog log(folder / "log.jsonl");
  CHECK_ERROR(DataError, "JsonLinesLog: fields: expected each name once, got \"a\"", log.append({{"a", 1}, {"a", 2}}));
  CHECK_ERROR(DataError, "JsonLinesLog: text: expected UTF-8, got \"\\ufffd\"", log.append({{"\xFF", 1}}));
  CHECK_ERROR(DataError, "JsonLinesLog: text: expected UTF-8, got \"\\ufffd\"", log.append({{"a", "\xFF"}}));
  CHECK(folder.read("log.jsonl").empty());
  CHECK_ERROR(FileError,
              fmt::format("JsonLinesLog: {}: expected a writable file, got \"No such file or directory\"",
                          (folder / "none/log.jsonl").string()),
              JsonLinesLog(folder / "none/log.jsonl"));
}

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
TEST_CASE("JsonLinesLog on a full disk ends with its last whole line and goes on when there is room") {
  const TemporaryFolder folder;
  JsonLinesLog log(folder / "log.jsonl");
  {
    const FileSizeLimit limit{12};
    log.append({{"a", 1}});
    CHECK_ERROR(FileError,
                fmt::format("JsonLinesLog: {}: expected a complete line, got \"File too large\"",
                            (folder / "log.jsonl").string()),
                log.append({{"a", 2}}));
    CHECK(folder.read("log.jsonl") == "{\"a\":1}\n");
  }
  log.append({{"a", 3}});
  CHECK(folder.read("log.jsonl") == "{\"a\":1}\n{\"a\":3}\n");
}
#endif

}  // namespace
}  // namespace patchdiff
