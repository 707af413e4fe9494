// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// beta(t) = beta_min + beta_d t for t in [0, 1], the linear schedule of VP and sub-VP, and its integral B(t).
///
/// Source: SDE (arXiv 2011.13456), equation 33, where beta_d is beta_max - beta_min.
struct BetaSchedule {
  double beta_d = 19.9;
  double beta_min = 0.1;

  double rate(double time) const noexcept { return beta_min + beta_d * time; }
  double integral(double time) const noexcept { return (beta_d * time / 2 + beta_min) * time; }

  /// The time at which the integral has this value, >= 0.
  double time(double integral) const noexcept {
    return (std::sqrt(beta_min * beta_min + 2 * beta_d * integral) - beta_min) / beta_d;
  }

  /// Errors: ConfigError, in the name of `component`, where beta has added no noise at the first time of sampling.
  void check(std::string_view component, double first) const {
    require<ConfigError>(beta_d > 0 && std::isfinite(beta_d), component, "beta_d", "a finite value > 0", beta_d);
    if (!(integral(first) > 0) || !std::isfinite(beta_min)) {
      refuse<ConfigError>(component, "beta_min", str("a finite value > ", -beta_d * first / 2), str(beta_min));
    }
  }

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("beta_d", self.beta_d, "growth of beta(t) from time 0 to 1");
    visit("beta_min", self.beta_min, "beta(t) at time 0");
  }
};

}  // namespace patchdiff
