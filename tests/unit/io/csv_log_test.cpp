// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/csv_log.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::ConfigError;
using patchdiff::CsvLog;
using patchdiff::DataError;
using patchdiff::FileError;

TEST_CASE("CsvLog shows each line at once") {
  const TemporaryFolder folder;
  CsvLog log{folder / "log.csv", {"step", "loss"}};
  CHECK(folder.read("log.csv") == "step,loss\n");
  log.append({1, 0.5});
  CHECK(folder.read("log.csv") == "step,loss\n1,0.5\n");
  log.append({std::uint64_t{18446744073709551615U}, -1e-7});
  CHECK(folder.read("log.csv") == "step,loss\n1,0.5\n18446744073709551615,-1e-07\n");
}

TEST_CASE("CsvLog writes numbers that read back as the same value") {
  const TemporaryFolder folder;
  CsvLog log{folder / "log.csv", {"x"}};
  for (const double value : {0.1, 1.0 / 3.0, 5e-324, std::numeric_limits<double>::max(), -0.0}) {
    log.append({value});
  }
  log.append({0.1F});
  log.append({std::nan("")});
  log.append({std::numeric_limits<double>::infinity()});
  log.append({std::int64_t{-9223372036854775807}});
  CHECK(folder.read("log.csv") ==
        "x\n0.1\n0.3333333333333333\n5e-324\n1.7976931348623157e+308\n-0\n0.1\nnan\ninf\n-9223372036854775807\n");
}

TEST_CASE("CsvLog can be put on the disk between lines, and on what is no disk") {
  const TemporaryFolder folder;
  CsvLog log{folder / "log.csv", {"x"}};
  log.append({1});
  log.sync();
  log.append({2});
  CHECK(folder.read("log.csv") == "x\n1\n2\n");
  if (std::filesystem::exists("/dev/null")) CsvLog{"/dev/null", {"x"}}.sync();
}

TEST_CASE("CsvLog continues a log with the same columns") {
  const TemporaryFolder folder;
  const auto reopened = [&](const std::string& content) {
    const auto path = folder.add("log.csv", content);
    CsvLog{path, {"step", "loss"}}.append({2, 2});
    return folder.read("log.csv");
  };
  CHECK(reopened("step,loss\n1,1\n") == "step,loss\n1,1\n2,2\n");
  CHECK(reopened("step,loss\n1,1\n1,0.") == "step,loss\n1,1\n2,2\n");
  CHECK(reopened("step,loss\n1") == "step,loss\n2,2\n");
  CHECK(reopened("step,loss") == "step,loss\n2,2\n");
  CHECK(reopened("step,") == "step,loss\n2,2\n");
  CHECK(reopened("") == "step,loss\n2,2\n");
}

TEST_CASE("CsvLog refuses and keeps any other file") {
  const TemporaryFolder folder;
  for (const std::string content : {"step,other\n1,1\n", "step,loss,more\n", "weights", "\n", "step,loss "}) {
    const auto path = folder.add("log.csv", content);
    CHECK_THROWS_MATCHES((CsvLog{path, {"step", "loss"}}), DataError,
                         Message(fmt::format("CsvLog: {}: expected a log of \"step,loss\", got \"{}\"", path.string(),
                                             content.substr(0, content.find('\n')))));
    CHECK(folder.read("log.csv") == content);
  }
}

TEST_CASE("CsvLog refuses columns and rows that do not fit") {
  const TemporaryFolder folder;
  const auto path = folder / "log.csv";
  CHECK_THROWS_MATCHES((CsvLog{path, {}}), ConfigError, Message("CsvLog: columns: expected at least one, got none"));
  for (const std::string name : {"a,b", "a\"", "a\n", "a\r", "", "x"}) {
    CHECK_THROWS_MATCHES((CsvLog{path, {"x", name}}), ConfigError,
                         Message(fmt::format("CsvLog: columns: expected different names without commas, quotes and "
                                             "line ends, got \"{}\"",
                                             name)));
  }
  CHECK(folder.count() == 0);
  CsvLog log{path, {"a", "b", "c"}};
  CHECK_THROWS_MATCHES(log.append({1, 2}), patchdiff::ShapeError, Message("CsvLog: row: expected 3 values, got 2"));
  CHECK_THROWS_MATCHES(log.append({}), patchdiff::ShapeError, Message("CsvLog: row: expected 3 values, got 0"));
  CHECK(folder.read("log.csv") == "a,b,c\n");
}

TEST_CASE("CsvLog refuses what it cannot write") {
  const TemporaryFolder folder;
  const auto missing = folder / "none/log.csv";
  CHECK_THROWS_MATCHES((CsvLog{missing, {"x"}}), FileError,
                       Message(fmt::format("CsvLog: {}: expected a writable file, got \"No such file or directory\"",
                                           missing.string())));
  CHECK_THROWS_MATCHES(
      (CsvLog{folder.path(), {"x"}}), FileError,
      Message(fmt::format("CsvLog: {}: expected a writable file, got \"Is a directory\"", folder.path().string())));
  if (std::filesystem::exists("/dev/full")) {
    CHECK_THROWS_MATCHES((CsvLog{"/dev/full", {"x"}}), FileError,
                         Message("CsvLog: /dev/full: expected a complete line, got \"No space left on device\""));
  }
}

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
TEST_CASE("CsvLog on a full disk ends with its last whole line and goes on when there is room") {
  const TemporaryFolder folder;
  CsvLog log{folder / "log.csv", {"step", "loss"}};
  {
    const FileSizeLimit limit{15};
    log.append({1, 2});
    CHECK_THROWS_MATCHES(log.append({2, 0.125}), FileError,
                         Message(fmt::format("CsvLog: {}: expected a complete line, got \"File too large\"",
                                             (folder / "log.csv").string())));
    CHECK(folder.read("log.csv") == "step,loss\n1,2\n");
  }
  log.append({3, 4});
  CHECK(folder.read("log.csv") == "step,loss\n1,2\n3,4\n");
}

TEST_CASE("CsvLog keeps every line when the program is killed") {
  const TemporaryFolder folder;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    CsvLog log{folder / "log.csv", {"step"}};
    for (int step = 0; step < 3; ++step) log.append({step});
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(folder.read("log.csv") == "step\n0\n1\n2\n");
}
#endif
