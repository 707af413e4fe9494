// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/sampling/exponential_step.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// Ancestral sampling: each step goes below its end and adds noise back; one call a step.
///
/// eta 1 draws from DDPM's posterior, eta 0 is DDIM: Euler's method in sigma.
/// Source: DDIM (arXiv 2010.02502), equation 16, in sigma as k-diffusion writes it.
class AncestralEuler {
 public:
  /// Errors: ConfigError for a negative eta.
  explicit AncestralEuler(double eta = 1) : eta_(eta) {
    require<ConfigError>(eta >= 0 && std::isfinite(eta), "AncestralEuler", "eta", "a finite value >= 0", eta);
  }

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    const double sigma = step.level().sigma, next = step.next_level().sigma;
    const double added = std::min(next, eta_ * next * std::sqrt(1 - next * next / (sigma * sigma)));
    const double down = added > 0 ? std::sqrt((next - added) * (next + added)) : next;
    return exponential_step<B>(step, x, step.denoise(x, step.time()), down);
  }

 private:
  double eta_;
};

}  // namespace patchdiff
