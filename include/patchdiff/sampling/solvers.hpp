// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>

namespace patchdiff {

/// What one step of a solver gives: the next state, the first denoised estimate and the calls it took.
template <Backend B>
struct SolverStep {
  typename B::Tensor x;
  typename B::Tensor denoised;
  std::int64_t nfe = 0;
};

/// Euler's method on dx/dsigma = (x - D) / sigma; order 1, one call a step.
struct Euler {
  template <Backend B, class Denoise>
  SolverStep<B> step(Denoise&& denoise, const typename B::Tensor& x, double sigma, double next) const {
    typename B::Tensor denoised = denoise(x, sigma);
    typename B::Tensor moved = linear<B>(next / sigma, x, 1 - next / sigma, denoised);
    return {std::move(moved), std::move(denoised), 1};
  }
};

/// Heun's method: Euler's step, then the mean of the slopes at both ends; order 2, two calls a step, one for the last.
///
/// Source: EDM (arXiv 2206.00364), Algorithm 2, lines 7 to 11.
struct Heun {
  template <Backend B, class Denoise>
  SolverStep<B> step(Denoise&& denoise, const typename B::Tensor& x, double sigma, double next) const {
    SolverStep<B> euler = Euler{}.template step<B>(denoise, x, sigma, next);
    if (next == 0) return euler;
    const typename B::Tensor slope = linear<B>(1 / sigma, x, -1 / sigma, euler.denoised);
    const typename B::Tensor end_slope = linear<B>(1 / next, euler.x, -1 / next, denoise(euler.x, next));
    const typename B::Tensor mean_slope = linear<B>(0.5, slope, 0.5, end_slope);
    return {linear<B>(1, x, next - sigma, mean_slope), std::move(euler.denoised), 2};
  }
};

}  // namespace patchdiff
