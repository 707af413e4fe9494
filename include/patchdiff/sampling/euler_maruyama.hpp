// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// The Euler-Maruyama method on the reverse SDE dx = (f - g^2 score) dt + g dw; one call a step, no noise in the last.
///
/// Source: SDE (arXiv 2011.13456), equation 6 and appendix E.
struct EulerMaruyama {
  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    const double length = step.time() - step.next_time();
    const NoiseMoment& at = step.moment();
    // g^2 score = 2 sigma'/sigma (s D - x)
    const double pull = 2 * at.sigma_rate / at.level.sigma;
    typename B::Tensor moved =
        linear<B>(1 - length * (at.drift() + pull), x, length * pull * at.level.scale, step.denoise(x, step.time()));
    if (step.ends_at_data()) return moved;
    return linear<B>(1, moved, at.diffusion() * std::sqrt(length), step.noise());
  }
};

}  // namespace patchdiff
