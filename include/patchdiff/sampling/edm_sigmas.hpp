// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace patchdiff {

/// The noise levels of EDM's sampler, from sigma_max down to sigma_min, then 0: num_steps + 1 values.
///
/// Source: EDM (arXiv 2206.00364), equation 5.
inline std::vector<double> edm_sigmas(std::int64_t num_steps, double sigma_min, double sigma_max, double rho) {
  const double first = std::pow(sigma_max, 1 / rho);
  const double last = std::pow(sigma_min, 1 / rho);
  std::vector<double> sigmas;
  for (std::int64_t step = 0; step < num_steps; ++step) {
    const double fraction = num_steps > 1 ? static_cast<double>(step) / static_cast<double>(num_steps - 1) : 0;
    sigmas.push_back(std::pow(first + fraction * (last - first), rho));
  }
  sigmas.push_back(0);
  return sigmas;
}

}  // namespace patchdiff
