// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/atomic_file.hpp>

#include <array>
#include <cstddef>
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
using patchdiff::AtomicFile;
using patchdiff::FileError;

TEST_CASE("AtomicFile gives a file its name when it is committed") {
  const TemporaryFolder folder;
  const auto path = folder.add("a.txt", "before");
  {
    AtomicFile file{path};
    file.write("one, ");
    file.write(std::array{std::byte{'t'}, std::byte{'w'}, std::byte{'o'}});
    file.write("");
    CHECK(folder.read("a.txt") == "before");
    CHECK(folder.count() == 2);
    file.commit();
    CHECK(folder.read("a.txt") == "one, two");
    CHECK(folder.count() == 1);
  }
  CHECK(folder.read("a.txt") == "one, two");
}

TEST_CASE("AtomicFile without commit leaves everything as it was") {
  const TemporaryFolder folder;
  const auto path = folder.add("a.txt", "before");
  AtomicFile{path}.write("after");
  CHECK(folder.read("a.txt") == "before");
  CHECK(folder.count() == 1);
}

TEST_CASE("AtomicFile lets two writers of one name work side by side") {
  const TemporaryFolder folder;
  AtomicFile first{folder / "a.txt"};
  AtomicFile second{folder / "a.txt"};
  first.write("first");
  second.write("second");
  second.commit();
  CHECK(folder.read("a.txt") == "second");
  first.commit();
  CHECK(folder.read("a.txt") == "first");
  CHECK(folder.count() == 1);
}

TEST_CASE("AtomicFile takes names without a folder, with spaces and with dots") {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  AtomicFile file{"a b.tar.gz"};
  file.write("x");
  file.commit();
  std::filesystem::current_path(before);
  CHECK(folder.read("a b.tar.gz") == "x");
}

TEST_CASE("AtomicFile refuses what it cannot write") {
  const TemporaryFolder folder;
  const auto missing = folder / "none/a.txt";
  CHECK_THROWS_MATCHES((AtomicFile{missing, "Writer"}), FileError,
                       Message(fmt::format("Writer: {}: expected a writable folder, got \"No such file or directory\"",
                                           missing.string())));
  CHECK_THROWS_MATCHES(AtomicFile{folder.path()}, FileError,
                       Message(fmt::format("AtomicFile: {}: expected a new name or a regular file, got a folder or a "
                                           "device",
                                           folder.path().string())));
  CHECK(folder.count() == 0);
}

TEST_CASE("AtomicFile refuses a name that became a folder meanwhile") {
  const TemporaryFolder folder;
  AtomicFile file{folder / "a"};
  std::filesystem::create_directory(folder / "a");
  CHECK_THROWS_MATCHES(file.commit(), FileError,
                       Message(fmt::format("AtomicFile: {}: expected a name that can be replaced, got \"Is a "
                                           "directory\"",
                                           (folder / "a").string())));
  CHECK(folder.count() == 1);
}

TEST_CASE("AtomicFile takes nothing more after commit") {
  const TemporaryFolder folder;
  AtomicFile file{folder / "a.txt"};
  file.commit();
  const auto message = fmt::format("AtomicFile: {}: expected an open file, got one that failed or is committed",
                                   (folder / "a.txt").string());
  CHECK_THROWS_MATCHES(file.write("x"), FileError, Message(message));
  CHECK_THROWS_MATCHES(file.commit(), FileError, Message(message));
  CHECK(folder.read("a.txt").empty());
}

#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
TEST_CASE("AtomicFile reports a full disk and removes what it wrote") {
  const TemporaryFolder folder;
  const auto path = folder.add("a.txt", "before");
  const auto message = fmt::format("AtomicFile: {}: expected a complete write, got \"File too large\"", path.string());

  SECTION("in the middle of one large write") {
    const std::vector<std::byte> bytes(100'000);
    const FileSizeLimit limit{50'000};
    AtomicFile file{path};
    CHECK_THROWS_MATCHES(file.write(bytes), FileError, Message(message));
    CHECK_THROWS_AS(file.commit(), FileError);
  }
  SECTION("when the last bytes leave the buffer") {
    const FileSizeLimit limit{5};
    AtomicFile file{path};
    file.write("0123456789");
    CHECK_THROWS_MATCHES(file.commit(), FileError, Message(message));
  }
  CHECK(folder.read("a.txt") == "before");
  CHECK(folder.count() == 1);
}

TEST_CASE("AtomicFile keeps the earlier file when the program is killed, and works beside the remains") {
  const TemporaryFolder folder;
  const auto path = folder.add("a.txt", "before");
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    AtomicFile file{path};
    file.write(std::string(100'000, 'x'));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(folder.read("a.txt") == "before");

  AtomicFile file{path};
  file.write("after");
  file.commit();
  CHECK(folder.read("a.txt") == "after");
  CHECK(folder.count() == 2);
}
#endif
