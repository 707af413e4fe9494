// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>
#include <utility>

#include <patchdiff/diffusion/beta_schedule.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>
#include <patchdiff/diffusion/vp.hpp>

namespace patchdiff {

/// The sub-VP formulation: VP's mean exp(-B/2) x0 with the smaller deviation 1 - exp(-B), so sigma = 2 sinh(B/2).
///
/// The network sees the scaled image and VP's times, and predicts the noise.
/// Source: SDE (arXiv 2011.13456), equations 12 and 29.
struct SubVP {
  double beta_d = 19.9;
  double beta_min = 0.1;

  static constexpr std::string_view name = "sub_vp";

  NoiseProcess process() const {
    return {"sub_vp",
            [beta = beta()](double time) {
              const double half = beta.integral(time) / 2, scale = std::exp(-half);
              return NoiseMoment{.level = {scale, 2 * std::sinh(half)},
                                 .scale_rate = -beta.rate(time) * scale / 2,
                                 .sigma_rate = beta.rate(time) * std::cosh(half)};
            },
            [beta = beta()](double sigma) { return beta.time(2 * std::asinh(sigma / 2)); }};
  }

  Preconditioning preconditioning(double sigma) const {
    const double half = std::asinh(sigma / 2);
    return {
        .c_skip = 1, .c_out = -sigma, .c_in = std::exp(-half), .c_noise = (VP::num_levels - 1) * beta().time(2 * half)};
  }

  double loss_weight(double sigma) const { return 1 / (sigma * sigma); }

  SigmaDistribution sigma_distribution() const {
    return SigmaDistribution::uniform_in_time(process(), VP::first_time_of_training(beta_min), 1);
  }

  SigmaSchedule sigma_schedule() const { return SigmaSchedule::uniform_in_time(process(), VP::first_sampling_time, 1); }

  void check() const { beta().check("SubVP", VP::first_sampling_time); }

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    BetaSchedule::describe(self, std::forward<Visitor>(visit));
  }

 private:
  BetaSchedule beta() const { return {beta_d, beta_min}; }
};

}  // namespace patchdiff
