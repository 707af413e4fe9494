// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/patch/multiplier_rule.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/train_step.hpp>

namespace patchdiff {

/// What the rest of a run takes, by the time that an image takes at each patch size.
class TrainingCost {
 public:
  /// `seconds_per_image`: one value per size of the schedule, above 0 for those that it takes.
  ///
  /// Errors: ConfigError for another number of values, or one out of range.
  TrainingCost(const PatchSizeSchedule& schedule, std::vector<double> seconds_per_image)
      : progressive_(schedule.is_progressive()),
        shares_(schedule.probabilities()),
        seconds_per_image_(std::move(seconds_per_image)) {
    if (seconds_per_image_.size() != shares_.size()) {
      refuse<ConfigError>("TrainingCost", "seconds_per_image", str(shares_.size(), " values, one per size"),
                          str(seconds_per_image_.size()));
    }
    for (std::size_t size = 0; size < shares_.size(); ++size) {
      const double value = seconds_per_image_[size];
      const bool holds = shares_[size] > 0 ? value > 0 && std::isfinite(value) : value >= 0;
      require<ConfigError>(holds, "TrainingCost", "seconds_per_image", "above 0 and finite for sizes of the schedule",
                           value);
    }
    if (progressive_) return;
    // A stochastic schedule draws steps, and steps on small patches take more images.
    double sum = 0;
    for (std::size_t size = 0; size < shares_.size(); ++size) {
      sum += shares_[size] *= static_cast<double>(schedule.multipliers()[size]);
    }
    for (double& share : shares_) share /= sum;
  }

  /// Seconds from a share of the run's images to its end, divided by the number of images.
  double left(double progress) const {
    double seconds = 0, end = 0;
    for (std::size_t size = 0; size < shares_.size(); ++size) {
      const double begin = end;
      end += shares_[size];
      const double share =
          progressive_ ? std::max(0.0, end - std::max(begin, progress)) : shares_[size] * std::max(0.0, 1 - progress);
      seconds += share * seconds_per_image_[size];
    }
    return seconds;
  }

  /// The length of a run that has seen some images and ends in that many seconds, at least 1.
  std::uint64_t images_in(double seconds, std::uint64_t seen = 0) const {
    const auto fits = [&](std::uint64_t images) {
      const double all = static_cast<double>(images);
      return all * left(static_cast<double>(seen) / all) <= seconds;
    };
    std::uint64_t length = std::max<std::uint64_t>(seen, 1);
    for (std::uint64_t step = std::uint64_t{1} << 62; step > 0; step /= 2) {
      if (fits(length + step)) length += step;
    }
    return length;
  }

  /// Seconds from a share of the run's images to its end, where `seconds` have passed since the share `begun`: what is
  /// expected, corrected by how the run has gone.
  double seconds_left(double begun, double progress, double seconds) const {
    const double expected = left(begun) - left(progress);
    return expected > 0 ? seconds * left(progress) / expected : 0;
  }

 private:
  bool progressive_;
  std::vector<double> shares_;
  std::vector<double> seconds_per_image_;
};

/// The seconds that an image takes at each patch size of a step's schedule, 0 for sizes that it never takes: the
/// fastest of a few steps of a copy of the model, by a clock of the host's choice.
template <class Clock = std::chrono::steady_clock, class D, class Loader>
std::vector<double> measured_seconds_per_image(const D& denoiser, Loader& loader, const TrainStepOptions& options,
                                               std::uint64_t seed = 0) {
  using B = typename D::Backend;
  auto trial = denoiser.clone();
  Adam<B> optimizer;
  const PatchSizeSchedule& schedule = options.schedule;
  std::vector<double> seconds;
  for (std::size_t size = 0; size < schedule.sizes().size(); ++size) {
    if (schedule.probabilities()[size] <= 0) {
      seconds.push_back(0);
      continue;
    }
    TrainStepOptions of_size = options;
    of_size.schedule =
        PatchSizeSchedule::stochastic_of({.image = schedule.image(),
                                          .sizes = {schedule.sizes()[size]},
                                          .multiplier = MultiplierRule::constant(schedule.multipliers()[size])});
    const TrainStep<B> step(std::move(of_size));
    TrainState state{.seed = seed};
    double fastest = std::numeric_limits<double>::max();
    for (int repeat = 0; repeat < 4; ++repeat) {
      const PatchPlan plan = step.plan(state);
      const auto start = Clock::now();
      step(trial, optimizer, loader.take(plan), plan, state).loss();
      fastest = std::min(fastest, std::chrono::duration<double>(Clock::now() - start).count());
    }
    seconds.push_back(fastest / static_cast<double>(options.batch * schedule.multipliers()[size]));
  }
  return seconds;
}

}  // namespace patchdiff
