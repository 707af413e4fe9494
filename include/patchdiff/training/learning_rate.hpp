// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

namespace patchdiff {

/// A learning rate that rises in a line over a run's first share `warmup` and falls to zero along a quarter of a
/// cosine.
///
/// `progress` is the share of the run that is done, 0 to 1; without warm-up the rate starts at its peak.
inline double cosine_learning_rate(double peak, double progress, double warmup) {
  const double rise = warmup > 0 ? std::min(1.0, progress / warmup) : 1;
  return peak * rise * std::cos(std::numbers::pi / 2 * std::min(1.0, progress));
}

}  // namespace patchdiff
