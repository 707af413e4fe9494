// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <unistd.h>

#include <fmt/format.h>

/// `42 s`, `5:04 min`, `1:30 h`.
inline std::string duration_text(double seconds) {
  const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

/// Shows work on standard output: a bar on a terminal, else a line at the start, every 5 seconds and at the end.
class Progress {
 public:
  Progress() : terminal_(::isatty(STDOUT_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { end_line(); }

  /// `share`: of the work, in [0, 1]; `place`: where it stands, which a bar shows itself; `rate`: how it goes.
  void show(double share, std::string_view place, std::string_view rate, bool last) {
    const auto now = Clock::now();
    if (!last && now < due_) return;
    due_ = now + (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5));
    if (terminal_) {
      fmt::print("\r{}  {}\x1b[K", bar(share), rate);
      open_line_ = true;
    } else {
      fmt::print("{}  {}\n", place, rate);
    }
    std::fflush(stdout);
  }

  /// Leaves the bar's line, so that others can be printed.
  void end_line() {
    if (open_line_) fmt::print("\n");
    open_line_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;

  static std::string bar(double share) {
    constexpr std::size_t width = 24;
    const auto done = std::min(width, static_cast<std::size_t>(share * width));
    return fmt::format("[{}{}] {:3.0f} %", std::string(done, '#'), std::string(width - done, '.'), 100 * share);
  }

  bool terminal_;
  bool open_line_ = false;
  Clock::time_point due_{};
};
