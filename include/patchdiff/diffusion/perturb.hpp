// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/diffusion/noise_level.hpp>

namespace patchdiff {

/// Noisy images x = scale (x0 + sigma n), the forward transition from clean images to a level of a NoiseProcess.
///
/// Given x0, x is normal with mean scale x0 and variance (scale sigma)^2. Where Patch Diffusion writes N(x, sigma I),
/// it means this variance sigma^2, not a variance sigma. Shapes: clean, unit normal noise and the result [N, ...]; one
/// level per sample.
template <Backend B>
typename B::Tensor perturb(const typename B::Tensor& clean, std::span<const NoiseLevel> levels,
                           const typename B::Tensor& noise) {
  std::vector<double> scale, deviation;
  for (const NoiseLevel& level : levels) {
    scale.push_back(level.scale);
    deviation.push_back(level.deviation());
  }
  return B::combine(scale, clean, deviation, noise);
}

}  // namespace patchdiff
