// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/diffusion/noise_level.hpp>

namespace patchdiff {

/// What a sampler's callback sees after each step; state and estimate are in float64.
template <Backend B>
struct SamplingProgress {
  using Wide = typename B::Wide;

  std::int64_t step = 0;                  ///< steps done
  std::int64_t num_steps = 0;             ///< steps in all
  NoiseLevel level{};                     ///< where the state stands after the step
  const typename Wide::Tensor& x;         ///< the state after the step, scaled as `level` says
  const typename Wide::Tensor& denoised;  ///< the step's first estimate of the clean images: a preview
  double sigma = 0;                       ///< noise level at which `denoised` was estimated
  std::int64_t nfe = 0;                   ///< calls of the denoiser so far
  const typename Wide::Tensor& flag;      ///< [], 1 where the state is finite, else 0

  /// Whether the state is finite; waits for the device.
  bool finite() const { return Wide::read_flag(flag); }
};

}  // namespace patchdiff
