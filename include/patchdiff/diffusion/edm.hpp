// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>

namespace patchdiff {

/// The formulation of EDM: sigma is the time, images are not scaled.
///
/// Source: EDM (arXiv 2206.00364), Table 1, last column.
struct EDM {
  double sigma_data = 0.5;  ///< standard deviation of the training images, > 0

  static constexpr std::string_view name = "edm";

  NoiseProcess process() const { return NoiseProcess::edm(); }

  Preconditioning preconditioning(double sigma) const {
    const double variance = sigma * sigma + sigma_data * sigma_data;
    return {.c_skip = sigma_data * sigma_data / variance,
            .c_out = sigma * sigma_data / std::sqrt(variance),
            .c_in = 1 / std::sqrt(variance),
            .c_noise = std::log(sigma) / 4};
  }

  double loss_weight(double sigma) const {
    const double product = sigma * sigma_data;
    return (sigma * sigma + sigma_data * sigma_data) / (product * product);
  }

  SigmaDistribution sigma_distribution() const { return SigmaDistribution::log_normal(-1.2, 1.2); }

  SigmaSchedule sigma_schedule() const { return SigmaSchedule::edm(); }

  void check() const {
    require<ConfigError>(sigma_data > 0 && std::isfinite(sigma_data), "EDM", "sigma_data", "a finite value > 0",
                         sigma_data);
  }

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("sigma_data", self.sigma_data, "standard deviation of the training images");
  }
};

}  // namespace patchdiff
