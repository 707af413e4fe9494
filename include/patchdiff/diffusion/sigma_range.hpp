// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Throws ConfigError unless 0 < sigma_min < sigma_max, and both are finite.
inline void require_sigma_range(std::string_view component, double sigma_min, double sigma_max) {
  require<ConfigError>(sigma_min > 0, component, "sigma_min", "a value > 0", sigma_min);
  if (!(sigma_max > sigma_min) || !std::isfinite(sigma_max)) {
    refuse<ConfigError>(component, "sigma_max", str("a finite value > sigma_min = ", sigma_min), str(sigma_max));
  }
}

}  // namespace patchdiff
