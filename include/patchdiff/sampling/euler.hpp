// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// Euler's method on the probability-flow ODE; order 1, one call a step.
struct Euler {
  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    return linear<B>(1, x, step.next_time() - step.time(), step.slope(x, step.time()));
  }
};

}  // namespace patchdiff
