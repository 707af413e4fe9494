// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <patchdiff/patch/patch_size_schedule.hpp>

/// What the rest of a run takes, by the time that an image takes at each patch size.
class TrainingCost {
 public:
  /// `seconds_per_image`: one value per size of the schedule, 0 for sizes that it never takes.
  TrainingCost(const patchdiff::PatchSizeSchedule& schedule, std::vector<double> seconds_per_image)
      : progressive_(schedule.is_progressive()),
        shares_(schedule.probabilities()),
        seconds_per_image_(std::move(seconds_per_image)) {
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

 private:
  bool progressive_;
  std::vector<double> shares_;
  std::vector<double> seconds_per_image_;
};
