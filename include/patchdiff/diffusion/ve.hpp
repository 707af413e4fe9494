// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>

#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/sigma_range.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>

namespace patchdiff {

/// The variance-exploding formulation: the time is the variance of the noise, sigma = sqrt(t), images are not scaled.
///
/// Source: SDE (arXiv 2011.13456), equation 9, in the time of EDM (arXiv 2206.00364), Table 1, second column.
struct VE {
  double sigma_min = 0.02;  ///< lowest noise level of training and sampling, > 0
  double sigma_max = 100;   ///< highest noise level of training and sampling, > sigma_min

  static constexpr std::string_view name = "ve";

  NoiseProcess process() const {
    return {"ve",
            [](double time) {
              const double sigma = std::sqrt(time);
              return NoiseMoment{.level = {.sigma = sigma}, .sigma_rate = 1 / (2 * sigma)};
            },
            [](double sigma) { return sigma * sigma; }};
  }

  Preconditioning preconditioning(double sigma) const {
    return {.c_skip = 1, .c_out = sigma, .c_in = 1, .c_noise = std::log(sigma / 2)};
  }

  double loss_weight(double sigma) const { return 1 / (sigma * sigma); }

  SigmaDistribution sigma_distribution() const { return SigmaDistribution::log_uniform(sigma_min, sigma_max); }

  SigmaSchedule sigma_schedule() const { return SigmaSchedule::geometric(sigma_min, sigma_max); }

  void check() const { require_sigma_range("VE", sigma_min, sigma_max); }

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("sigma_min", self.sigma_min, "lowest noise level");
    visit("sigma_max", self.sigma_max, "highest noise level");
  }
};

}  // namespace patchdiff
