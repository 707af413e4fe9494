// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/sampling/exponential_step.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// DPM-Solver++(2M): extrapolates the clean image from this step's estimate and the last one's; order 2, one call a
/// step.
///
/// eta > 0 is its SDE variant, with eta = 1 the reverse SDE. The first step and the last one use their estimate alone,
/// as does one that starts no lower than the last estimate's noise level, under churn.
/// Source: DPM-Solver++ (arXiv 2211.01095), Algorithm 2; the SDE variant as k-diffusion's "midpoint" writes it.
class DPMSolverPP2M {
 public:
  /// Errors: ConfigError for a negative eta.
  explicit DPMSolverPP2M(double eta = 0) : eta_(eta) {
    require<ConfigError>(eta >= 0 && std::isfinite(eta), "DPMSolverPP2M", "eta", "a finite value >= 0", eta);
  }

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    const double sigma = step.level().sigma, next = step.next_level().sigma;
    typename B::Tensor clean = step.denoise(x, step.time());
    if (step.ends_at_data()) return clean;
    const double length = std::log(sigma / next);
    if (const CleanEstimate<B>* last = step.previous(); last && last->sigma > sigma) {
      const double weight = length / (2 * std::log(last->sigma / sigma));
      clean = linear<B>(1 + weight, clean, -weight, last->denoised);
    }
    return exponential_step<B>(step, x, clean, eta_ > 0 ? next * std::exp(-eta_ * length) : next);
  }

 private:
  double eta_;
};

}  // namespace patchdiff
