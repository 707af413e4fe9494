// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/diffusion/noise_level.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// Takes the state along the straight line to a clean image, down to noise level `down`, and adds noise up to the level
/// at which the step ends. Exact for a denoiser that always answers `clean`; draws no noise where `down` is that level.
///
/// With y = x / s: y' = (down / sigma) y + (1 - down / sigma) clean + sqrt(sigma'^2 - down^2) n.
template <Backend B>
typename B::Tensor exponential_step(SolverStep<B>& step, const typename B::Tensor& x, const typename B::Tensor& clean,
                                    double down) {
  const NoiseLevel from = step.level(), to = step.next_level();
  const double kept = down / from.sigma;
  typename B::Tensor moved = linear<B>(to.scale / from.scale * kept, x, to.scale * (1 - kept), clean);
  if (!(down < to.sigma)) return moved;
  const double added = std::sqrt((to.sigma - down) * (to.sigma + down));
  return linear<B>(1, moved, to.scale * added, step.noise());
}

}  // namespace patchdiff
