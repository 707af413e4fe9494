// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// The noise levels at which guidance acts: sigma_min < sigma <= sigma_max.
///
/// Source: Kynkaanniemi et al., Applying guidance in a limited interval (arXiv 2404.07724).
struct GuidanceInterval {
  double sigma_min = 0;
  double sigma_max = std::numeric_limits<double>::infinity();
};

/// How strongly a sample is guided at its noise level: 1 is not at all.
class GuidanceScale {
 public:
  /// Errors: ConfigError, in the name of `component`, for a scale that is not finite or an interval without levels.
  GuidanceScale(std::string_view component, double scale, GuidanceInterval interval)
      : scale_(scale), interval_(interval) {
    require<ConfigError>(std::isfinite(scale), component, "guidance_scale", "a finite value", scale);
    if (!(interval.sigma_min >= 0 && interval.sigma_min < interval.sigma_max)) {
      refuse<ConfigError>(component, "interval", "0 <= sigma_min < sigma_max",
                          str(interval.sigma_min, " and ", interval.sigma_max));
    }
  }

  double operator()(double sigma) const noexcept {
    return sigma > interval_.sigma_min && sigma <= interval_.sigma_max ? scale_ : 1;
  }

  /// The scales of a batch; empty where none of its samples is guided.
  std::vector<double> operator()(std::span<const double> sigma) const {
    std::vector<double> scales;
    for (const double level : sigma) scales.push_back((*this)(level));
    if (std::all_of(scales.begin(), scales.end(), [](double scale) { return scale == 1; })) scales.clear();
    return scales;
  }

 private:
  double scale_;
  GuidanceInterval interval_;
};

/// 1 - scale for each scale, the weight of what guidance leads away from.
inline std::vector<double> opposite(std::span<const double> scales) {
  std::vector<double> weights;
  for (const double scale : scales) weights.push_back(1 - scale);
  return weights;
}

}  // namespace patchdiff
