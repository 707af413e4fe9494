// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>

#include <fmt/format.h>

#include <patchdiff/core/train_state.hpp>

#include "stopwatch.hpp"

/// Tells how a training goes: a line every few seconds and one at its end, with the mean loss since the last line.
class TrainingLines {
 public:
  /// `interval`: seconds between lines.
  explicit TrainingLines(double interval = 5) : interval_(interval) {}

  /// After each step; `last`: of the training.
  void add(const patchdiff::TrainState& state, double loss, bool last) {
    loss_ += loss;
    ++steps_;
    const double passed = seconds();
    if (passed - told_ < interval_ && !last) return;
    fmt::print("{:4.0f} s  step {:5}  images {:7}  {:5.0f} images/s  mean loss {:.4f}\n", passed, state.step,
               state.images, static_cast<double>(state.images) / passed, loss_ / static_cast<double>(steps_));
    std::fflush(stdout);
    told_ = passed;
    loss_ = 0;
    steps_ = 0;
  }

  /// Since it was made.
  double seconds() const { return watch_.seconds(); }

 private:
  Stopwatch watch_{};
  double interval_;
  double told_ = 0;
  double loss_ = 0;
  std::int64_t steps_ = 0;
};
