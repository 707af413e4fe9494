// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// A learning rate that rises in a line over a run's first share `warmup` and falls to zero along a quarter of a
/// cosine.
///
/// `progress` is the share of the run that is done, 0 to 1; without warm-up the rate starts at its peak.
inline double cosine_learning_rate(double peak, double progress, double warmup) {
  const double rise = warmup > 0 ? std::min(1.0, progress / warmup) : 1;
  return peak * rise * std::cos(std::numbers::pi / 2 * std::min(1.0, progress));
}

/// A learning rate that rises at first and falls as one over a root.
struct InverseSqrtRate {
  double peak = 1e-2;                 ///< the rate after the rise and before the fall
  double constant_images = 143.36e6;  ///< images until which it stays there, > 0; EDM2: 70,000 batches of 2048
  double rampup_images = 10e6;        ///< images in which it rises in a line from 0; 0: none
};

/// A learning rate that rises in a line, stays, and falls with the root of the images seen: it needs no run's length.
///
/// Errors: ConfigError for `constant_images` that are not > 0. Source: EDM2 (arXiv 2312.02696), appendix B.
inline double inverse_sqrt_learning_rate(const InverseSqrtRate& rate, std::uint64_t images) {
  require<ConfigError>(rate.constant_images > 0, "InverseSqrtRate", "constant_images", "a value > 0",
                       rate.constant_images);
  const auto seen = static_cast<double>(images);
  const double rise = rate.rampup_images > 0 ? std::min(1.0, seen / rate.rampup_images) : 1;
  return rate.peak * rise / std::sqrt(std::max(1.0, seen / rate.constant_images));
}

}  // namespace patchdiff
