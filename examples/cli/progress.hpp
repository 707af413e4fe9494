// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include <unistd.h>

#include <fmt/format.h>

/// Where a training run stands, for people.
struct ProgressReport {
  std::uint64_t step = 0;
  std::uint64_t images = 0;
  std::uint64_t total = 0;
  double seconds = 0;       ///< since the start
  double seconds_left = 0;  ///< estimated
  double loss = 0;
};

/// Shows a run on standard output: a bar on a terminal, else a line at the start, every 5 seconds and at the end.
class Progress {
 public:
  Progress() : terminal_(::isatty(STDOUT_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { end_line(); }

  void show(const ProgressReport& report, bool last) {
    loss_ = loss_ < 0 ? report.loss : 0.95 * loss_ + 0.05 * report.loss;
    const auto now = Clock::now();
    if (!last && shown_ && now - *shown_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5)))
      return;
    shown_ = now;
    const double rate = static_cast<double>(report.images) / report.seconds;
    if (terminal_) {
      fmt::print("\r{} {:5.0f} images/s  loss {:.4f}  {} left\x1b[K", bar(report), rate, loss_,
                 duration(report.seconds_left));
      open_line_ = true;
    } else {
      fmt::print("step {:5}  images {:7} of {}  {:5.0f} images/s  loss {:.4f}  {} left\n", report.step, report.images,
                 report.total, rate, loss_, duration(report.seconds_left));
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

  static std::string bar(const ProgressReport& report) {
    constexpr std::uint64_t width = 24;
    const std::uint64_t images = std::min(report.images, report.total);
    const std::uint64_t done = images * width / report.total;
    return fmt::format("[{}{}] {:3} %", std::string(done, '#'), std::string(width - done, '.'),
                       images * 100 / report.total);
  }

  static std::string duration(double seconds) {
    const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
    if (whole < 60) return fmt::format("{} s", whole);
    if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
    return fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
  }

  bool terminal_;
  bool open_line_ = false;
  double loss_ = -1;  ///< mean over the last steps; negative before the first
  std::optional<Clock::time_point> shown_{};
};
