// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace patchdiff {

/// Where a noisy image stands in the scaled convention: x = scale (x0 + sigma n) with unit normal n.
///
/// The type of a level tells the convention: a plain `double sigma` always belongs to unscaled images x0 + sigma n.
struct NoiseLevel {
  double scale = 1;
  double sigma = 0;

  /// Standard deviation of the noise in x; x given x0 is normal with mean scale x0 and variance deviation^2.
  double deviation() const noexcept { return scale * sigma; }

  friend bool operator==(const NoiseLevel&, const NoiseLevel&) = default;
};

}  // namespace patchdiff
