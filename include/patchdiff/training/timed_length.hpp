// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/training/training_cost.hpp>

namespace patchdiff {

/// The length in images of a run that is to end at a given time: planned by what images cost, and anew every 10 seconds
/// by what they have cost lately, by a clock of the host's choice.
template <class Clock = std::chrono::steady_clock>
class TimedLength {
 public:
  /// For a run that starts now and is to take that many seconds; `seconds_per_image`: one value per size of the
  /// schedule, which may be of any length itself.
  ///
  /// Errors: ConfigError as of TrainingCost.
  TimedLength(PatchSizeSchedule schedule, std::vector<double> seconds_per_image, double seconds)
      : schedule_(std::move(schedule)),
        seconds_per_image_(std::move(seconds_per_image)),
        images_(TrainingCost(schedule_, seconds_per_image_).images_in(seconds)),
        end_(seconds),
        spent_(schedule_.sizes().size()) {}

  /// The planned length, at least 1.
  std::uint64_t images() const noexcept { return images_; }

  /// So many images as a share of the planned length.
  double share(std::uint64_t images) const { return static_cast<double>(images) / static_cast<double>(images_); }

  /// After each step: whether the planned length has changed, which never falls below the images seen.
  ///
  /// Errors: ConfigError for a patch that is none of the schedule's.
  bool update(const PatchPlan& plan) {
    const double now = std::chrono::duration<double>(Clock::now() - start_).count();
    Spent& spent = spent_[index_of(plan.patch)];
    spent.seconds += now - std::exchange(last_step_, now);
    spent.images += plan.images;
    if (now - last_plan_ < interval) return false;
    last_plan_ = now;
    for (std::size_t size = 0; size < spent_.size(); ++size) {
      const auto [seconds, images] = std::exchange(spent_[size], {});
      if (images == 0) continue;
      // Half of what was known stays, as a short hindrance is not to change much.
      seconds_per_image_[size] = (seconds_per_image_[size] + seconds / static_cast<double>(images)) / 2;
    }
    const TrainingCost cost(schedule_, seconds_per_image_);
    const std::uint64_t seen = plan.first_image + static_cast<std::uint64_t>(plan.images);
    return std::exchange(images_, cost.images_in(end_ - now, seen)) != images_;
  }

 private:
  static constexpr double interval = 10;

  struct Spent {
    double seconds = 0;
    std::int64_t images = 0;
  };

  std::size_t index_of(ImageSize patch) const {
    const std::vector<ImageSize>& sizes = schedule_.sizes();
    const auto found = std::find(sizes.begin(), sizes.end(), patch);
    require<ConfigError>(found != sizes.end(), "TimedLength", "plan.patch", "a size of the schedule", to_string(patch));
    return static_cast<std::size_t>(found - sizes.begin());
  }

  PatchSizeSchedule schedule_;
  std::vector<double> seconds_per_image_;
  std::uint64_t images_;
  typename Clock::time_point start_ = Clock::now();
  double end_, last_step_ = 0, last_plan_ = 0;  // seconds from the start
  std::vector<Spent> spent_;                    // since the last plan, at each size
};

}  // namespace patchdiff
