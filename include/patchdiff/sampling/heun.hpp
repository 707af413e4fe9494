// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// The family of two-stage methods of order 2 on the probability-flow ODE: two calls a step, one for the last.
///
/// The second stage lies at alpha of the step: 1 is Heun's method, 1/2 the midpoint method, 2/3 Ralston's.
/// Source: EDM (arXiv 2206.00364), Algorithm 3, which calls the whole family Heun's.
class Heun {
 public:
  /// Errors: ConfigError for an alpha outside (0, 1].
  explicit Heun(double alpha = 1) : alpha_(alpha) {
    require<ConfigError>(alpha > 0 && alpha <= 1, "Heun", "alpha", "a value in (0, 1]", alpha);
  }

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    const double length = step.next_time() - step.time();
    const typename B::Tensor slope = step.slope(x, step.time());
    if (step.ends_at_data()) return linear<B>(1, x, length, slope);
    const double stage_time = alpha_ == 1 ? step.next_time() : step.time() + alpha_ * length;
    const typename B::Tensor stage = linear<B>(1, x, alpha_ * length, slope);
    const double weight = 1 / (2 * alpha_);
    return linear<B>(1, x, length, linear<B>(1 - weight, slope, weight, step.slope(stage, stage_time)));
  }

 private:
  double alpha_;
};

}  // namespace patchdiff
