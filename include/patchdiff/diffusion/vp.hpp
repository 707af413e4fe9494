// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/beta_schedule.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>

namespace patchdiff {

/// The variance-preserving formulation (DDPM): s = exp(-B/2) and sigma^2 = exp(B) - 1 with B the integral of beta.
///
/// Source: SDE (arXiv 2011.13456), equation 11; EDM (arXiv 2206.00364), Table 1, first column.
struct VP {
  double beta_d = 19.9;
  double beta_min = 0.1;

  static constexpr std::string_view name = "vp";
  static constexpr double first_sampling_time = 1e-3;  ///< time of the last noise level before 0
  static constexpr double first_training_time = 1e-5;  ///< training draws no earlier times
  static constexpr int num_levels = 1000;              ///< c_noise is a time in [0, num_levels - 1]

  /// Where training's times begin: a negative beta_min, as of `from_range`, has no noise at the very first ones.
  static constexpr double first_time_of_training(double beta_min) noexcept {
    return beta_min < 0 ? first_sampling_time : first_training_time;
  }

  /// The VP process that reaches sigma_min at the first sampling time and sigma_max at time 1.
  ///
  /// Errors: ConfigError for levels that are not finite and > 0, or for a sigma_min that a growing beta(t) passes
  /// before.
  static VP from_range(double sigma_min, double sigma_max) {
    require<ConfigError>(sigma_max > 0 && std::isfinite(sigma_max), "VP::from_range", "sigma_max", "a finite value > 0",
                         sigma_max);
    const double first = std::log1p(sigma_min * sigma_min), last = std::log1p(sigma_max * sigma_max);
    if (!(sigma_min > 0 && first < first_sampling_time * last)) {
      refuse<ConfigError>("VP::from_range", "sigma_min",
                          str("a value > 0 and < ", shortened(std::sqrt(std::expm1(first_sampling_time * last)), 4)),
                          str(sigma_min));
    }
    const double beta_d = 2 * (first / first_sampling_time - last) / (first_sampling_time - 1);
    return {.beta_d = beta_d, .beta_min = last - beta_d / 2};
  }

  NoiseProcess process() const {
    return {"vp",
            [beta = beta()](double time) {
              const double integral = beta.integral(time), sigma = std::sqrt(std::expm1(integral));
              const double scale = std::exp(-integral / 2);
              return NoiseMoment{.level = {scale, sigma},
                                 .scale_rate = -beta.rate(time) * scale / 2,
                                 .sigma_rate = beta.rate(time) * (sigma + 1 / sigma) / 2};
            },
            [beta = beta()](double sigma) { return beta.time(std::log1p(sigma * sigma)); }};
  }

  Preconditioning preconditioning(double sigma) const {
    return {.c_skip = 1,
            .c_out = -sigma,
            .c_in = 1 / std::hypot(1, sigma),
            .c_noise = (num_levels - 1) * beta().time(std::log1p(sigma * sigma))};
  }

  double loss_weight(double sigma) const { return 1 / (sigma * sigma); }

  SigmaDistribution sigma_distribution() const {
    return SigmaDistribution::uniform_in_time(process(), first_time_of_training(beta_min), 1);
  }

  SigmaSchedule sigma_schedule() const { return SigmaSchedule::uniform_in_time(process(), first_sampling_time, 1); }

  void check() const { beta().check("VP", first_sampling_time); }

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    BetaSchedule::describe(self, std::forward<Visitor>(visit));
  }

 private:
  BetaSchedule beta() const { return {beta_d, beta_min}; }
};

}  // namespace patchdiff
