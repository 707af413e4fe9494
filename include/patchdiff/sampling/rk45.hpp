// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// Tolerances of RK45.
struct RK45Options {
  double relative_tolerance = 1e-5;  ///< error of a substep as a share of the state's root mean square, >= 0
  double absolute_tolerance = 1e-5;  ///< error of a substep added to that, > 0
};

/// Dormand and Prince's method of order 5 with error control, which takes as many substeps as an interval needs.
///
/// The error is the root mean square over a sample's values; the batch's worst sample sets the substep, so a sample
/// agrees between batch splits to the tolerance. Reads three numbers a sample from the device in each substep. The step
/// that ends at the data is Euler's.
/// Source: Dormand and Prince, A family of embedded Runge-Kutta formulae, 1980; SDE (arXiv 2011.13456), section 4.3.
class RK45 {
 public:
  /// Errors: ConfigError for tolerances that cannot work.
  explicit RK45(RK45Options options = {}) : options_(options) {
    require<ConfigError>(options.relative_tolerance >= 0 && std::isfinite(options.relative_tolerance), "RK45",
                         "relative_tolerance", "a finite value >= 0", options.relative_tolerance);
    require<ConfigError>(options.absolute_tolerance > 0 && std::isfinite(options.absolute_tolerance), "RK45",
                         "absolute_tolerance", "a finite value > 0", options.absolute_tolerance);
  }

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    if (step.ends_at_data()) return Euler{}.step(step, x);
    return integrate<B>([&](const typename B::Tensor& state, double time) { return step.slope(state, time); }, x,
                        step.time(), step.next_time());
  }

  /// Solves dx/dt = slope(x, t) from one time to another, in either direction.
  ///
  /// The result is NaN, at once, where slopes are not finite.
  /// Errors: NumericError where no substep is small enough.
  template <Backend B, class Slope>
  typename B::Tensor integrate(Slope&& slope, typename B::Tensor x, double from, double to) const {
    using Tensor = typename B::Tensor;
    double time = from, length = to - from;
    Tensor first = slope(x, time);
    while (time != to) {
      const bool last = std::abs(length) >= std::abs(to - time);
      if (last) length = to - time;
      // Stage times, and the weights of the slopes so far in each stage; those of stage 6 are the solution's.
      constexpr std::array<double, 7> nodes{0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
      constexpr std::array<std::array<double, 6>, 7> weights{
          {{},
           {1. / 5},
           {3. / 40, 9. / 40},
           {44. / 45, -56. / 15, 32. / 9},
           {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
           {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
           {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84}}};
      std::vector<Tensor> slopes{first};
      Tensor moved = x;
      for (std::size_t stage = 1; stage < nodes.size(); ++stage) {
        moved = x;
        for (std::size_t k = 0; k < stage; ++k) {
          if (weights[stage][k] != 0) moved = linear<B>(1, moved, length * weights[stage][k], slopes[k]);
        }
        slopes.push_back(slope(moved, nodes[stage] == 1 && last ? to : time + nodes[stage] * length));
      }
      const double error = error_of<B>(slopes, length, x, moved);
      if (!std::isfinite(error)) return linear<B>(std::numeric_limits<double>::quiet_NaN(), x);
      if (error <= 1) {
        time = last ? to : time + length;
        x = std::move(moved);
        first = std::move(slopes.back());
      }
      length *= std::clamp(0.9 * std::pow(std::max(error, 1e-10), -0.2), 0.2, 5.0);
      if (time != to && time + length == time) {
        refuse<NumericError>("RK45", "tolerance", "one that some substep meets",
                             str("none at time ", shortened(time, 6)));
      }
    }
    return x;
  }

 private:
  /// The largest error of any sample as a share of what is allowed: the difference to the embedded solution of order 4.
  template <Backend B>
  double error_of(const std::vector<typename B::Tensor>& slopes, double length, const typename B::Tensor& x,
                  const typename B::Tensor& moved) const {
    using Tensor = typename B::Tensor;
    constexpr std::array<double, 7> weights{71. / 57600,      0,         -71. / 16695, 71. / 1920,
                                            -17253. / 339200, 22. / 525, -1. / 40};
    Tensor difference = linear<B>(length * weights[0], slopes[0]);
    for (std::size_t k = 2; k < slopes.size(); ++k) {
      difference = linear<B>(1, difference, length * weights[k], slopes[k]);
    }
    const Shape shape = B::shape(x);
    const double values = static_cast<double>(element_count(shape)) / static_cast<double>(shape.front());
    const auto squares = [](const Tensor& tensor) {
      return B::to_host(B::sum_per_sample(B::multiply(tensor, tensor)));
    };
    const std::vector<double> of_error = squares(difference), before = squares(x), after = squares(moved);
    double worst = 0;
    for (std::size_t n = 0; n < of_error.size(); ++n) {
      const double size = std::sqrt(std::max(before[n], after[n]) / values);
      const double share =
          std::sqrt(of_error[n] / values) / (options_.absolute_tolerance + options_.relative_tolerance * size);
      worst = std::isnan(share) ? std::numeric_limits<double>::infinity() : std::max(worst, share);
    }
    return worst;
  }

  RK45Options options_;
};

}  // namespace patchdiff
