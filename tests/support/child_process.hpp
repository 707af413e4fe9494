// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// How a process ended: its exit code, or minus the signal that ended it, and what it wrote.
struct Finished {
  int code = 0;
  std::string out{};
  std::string err{};
};

/// A running program, which inherits the limits of this process; it is killed if nobody waits for it.
///
/// Standard error is read at the end, so the program must not fill its pipe (64 KiB).
class ChildProcess {
 public:
  /// The program, looked for as a shell does, and its arguments.
  explicit ChildProcess(std::vector<std::string> command) {
    std::vector<char*> words;
    for (std::string& word : command) words.push_back(word.data());
    words.push_back(nullptr);

    std::array<int, 2> out{}, err{};
    if (::pipe(out.data()) != 0 || ::pipe(err.data()) != 0) throw std::runtime_error("pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const auto& [pipe, target] : {std::pair(out, STDOUT_FILENO), std::pair(err, STDERR_FILENO)}) {
      posix_spawn_file_actions_adddup2(&actions, pipe[1], target);
      posix_spawn_file_actions_addclose(&actions, pipe[0]);
      posix_spawn_file_actions_addclose(&actions, pipe[1]);
    }
    const int failed = ::posix_spawnp(&process_, words.front(), &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    ::close(err[1]);
    out_ = out[0];
    err_ = err[0];
    if (failed != 0) throw std::runtime_error("posix_spawn of " + command.front());
  }

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  ~ChildProcess() {
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, nullptr, 0);
    }
    ::close(out_);
    ::close(err_);
  }

  /// Waits until standard output holds that text; false if the program ends before.
  bool wait_for(const std::string& text) {
    while (finished_.out.find(text) == std::string::npos) {
      if (!read_some(out_, finished_.out)) return false;
    }
    return true;
  }

  pid_t id() const noexcept { return process_; }

  void signal(int number) const { ::kill(process_, number); }

  /// Sends the signal again and again until the program ends.
  Finished signal_until_end(int number) {
    int status = 0;
    while (::waitpid(process_, &status, WNOHANG) == 0) ::kill(process_, number);
    return finish(status);
  }

  Finished wait() {
    while (read_some(out_, finished_.out)) {
    }
    int status = 0;
    ::waitpid(process_, &status, 0);
    return finish(status);
  }

  /// What standard output holds so far, as `wait_for` has read it.
  const std::string& out() const noexcept { return finished_.out; }

 private:
  static bool read_some(int file, std::string& text) {
    std::array<char, 4096> buffer{};
    const ssize_t count = ::read(file, buffer.data(), buffer.size());
    if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
    return count > 0;
  }

  Finished finish(int status) {
    process_ = -1;
    finished_.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    while (read_some(out_, finished_.out)) {
    }
    while (read_some(err_, finished_.err)) {
    }
    return finished_;
  }

  pid_t process_ = -1;
  int out_ = -1, err_ = -1;
  Finished finished_{};
};
