// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace patchdiff {

/// Where a training run stands: with weights and optimiser state, all that resuming needs.
///
/// Every random draw and every learning-rate, EMA or patch-size decision is a function of these numbers.
struct TrainState {
  std::uint64_t seed = 0;     ///< key of every random draw of the run
  std::uint64_t step = 0;     ///< steps taken
  std::uint64_t images = 0;   ///< images seen; also the data cursor
  std::uint64_t patches = 0;  ///< patches seen
  std::uint64_t pixels = 0;   ///< pixels of those patches
  std::uint64_t skipped = 0;  ///< steps whose update was left out because a value was not finite

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("seed", self.seed, "key of every random draw of the run");
    visit("step", self.step, "steps taken");
    visit("images", self.images, "images seen");
    visit("patches", self.patches, "patches seen");
    visit("pixels", self.pixels, "pixels of those patches");
    visit("skipped", self.skipped, "steps whose update was left out");
  }

  friend bool operator==(const TrainState&, const TrainState&) = default;
};

}  // namespace patchdiff
