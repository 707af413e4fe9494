// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/noise_level.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// EDM's names for the noise that its stochastic sampler adds.
struct ChurnOptions {
  double s_churn = 0;                                       ///< noise added over the whole run, >= 0
  double s_tmin = 0;                                        ///< lowest sigma at which noise is added
  double s_tmax = std::numeric_limits<double>::infinity();  ///< highest sigma at which noise is added
  double s_noise = 1;                                       ///< factor on the standard deviation of added noise
};

/// EDM's stochastic sampler around a solver: each step first adds noise, to a higher level, and starts from there.
///
/// Without churn it is the solver in it, bit for bit, and draws nothing.
/// Source: EDM (arXiv 2206.00364), Algorithm 2, lines 4 to 6.
template <class Inner = Heun>
class Churn {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit Churn(ChurnOptions options, Inner inner = Inner{}) : options_(options), inner_(std::move(inner)) {
    require<ConfigError>(options.s_churn >= 0, "Churn", "s_churn", "a value >= 0", options.s_churn);
    require<ConfigError>(!std::isnan(options.s_tmin), "Churn", "s_tmin", "a noise level", options.s_tmin);
    require<ConfigError>(!std::isnan(options.s_tmax), "Churn", "s_tmax", "a noise level", options.s_tmax);
    require<ConfigError>(options.s_noise >= 0 && std::isfinite(options.s_noise), "Churn", "s_noise",
                         "a finite value >= 0", options.s_noise);
  }

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    const NoiseLevel from = step.level();
    const double gamma = gamma_at(from.sigma, step);
    if (!(gamma > 0)) return inner_.step(step, x);
    step.start_at(step.process().time(from.sigma * (1 + gamma)));
    const NoiseLevel raised = step.level();
    const double added = options_.s_noise * std::sqrt((raised.sigma - from.sigma) * (raised.sigma + from.sigma));
    return inner_.step(step, linear<B>(raised.scale / from.scale, x, raised.scale * added, step.noise()));
  }

  const ChurnOptions& options() const noexcept { return options_; }

 private:
  template <Backend B>
  double gamma_at(double sigma, const SolverStep<B>& step) const noexcept {
    if (sigma < options_.s_tmin || sigma > options_.s_tmax) return 0;
    return std::min(options_.s_churn / static_cast<double>(step.num_steps()), std::numbers::sqrt2 - 1);
  }

  ChurnOptions options_;
  Inner inner_;
};

}  // namespace patchdiff
