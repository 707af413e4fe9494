// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string_view>
#include <vector>

#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>

namespace patchdiff {

/// The formulation of improved DDPM (and DDIM): a table of 1000 noise levels with cosine alphas; sigma is the time.
///
/// c_noise counts from the lowest level, and is that of the nearest level for a sigma between two.
/// Source: EDM (arXiv 2206.00364), Table 1, third column.
struct IDDPM {
  static constexpr std::string_view name = "iddpm";
  static constexpr int num_levels = 1000;
  static constexpr int first_sampling_level = 8;  ///< sampling starts here, at sigma 80.2

  /// The noise levels u_0 > ... > u_999.
  static const std::vector<double>& levels() {
    static const std::vector<double> table = [] {
      const auto alpha_bar = [](int level) {
        const double sine = std::sin(std::numbers::pi / 2 * level / (num_levels * (1 + 0.008)));
        return sine * sine;
      };
      std::vector<double> all(num_levels);
      double square = 0;
      for (int level = num_levels; level > 0; --level) {
        square = (square + 1) / std::max(alpha_bar(level - 1) / alpha_bar(level), 0.001) - 1;
        all[static_cast<std::size_t>(level - 1)] = std::sqrt(square);
      }
      return all;
    }();
    return table;
  }

  /// The index of the level nearest to sigma.
  static std::int64_t nearest_level(double sigma) {
    const std::vector<double>& all = levels();
    const auto lower = std::lower_bound(all.begin(), all.end(), sigma, [](double a, double b) { return a > b; });
    if (lower == all.begin()) return 0;
    if (lower == all.end()) return num_levels - 1;
    return lower - all.begin() - (lower[-1] - sigma < sigma - *lower ? 1 : 0);
  }

  NoiseProcess process() const { return NoiseProcess::edm(); }

  Preconditioning preconditioning(double sigma) const {
    return {.c_skip = 1,
            .c_out = -sigma,
            .c_in = 1 / std::hypot(1, sigma),
            .c_noise = static_cast<double>(num_levels - 1 - nearest_level(sigma))};
  }

  double loss_weight(double sigma) const { return 1 / (sigma * sigma); }

  SigmaDistribution sigma_distribution() const { return SigmaDistribution::uniform_over(levels()); }

  SigmaSchedule sigma_schedule() const {
    return {"iddpm", [](std::int64_t num_steps) {
              std::vector<double> sigmas;
              for (std::int64_t step = 0; step < num_steps; ++step) {
                const double last = num_levels - 1 - first_sampling_level;
                const double level = first_sampling_level + last * step_fraction(step, num_steps);
                sigmas.push_back(levels()[static_cast<std::size_t>(level + 0.5)]);
              }
              return sigmas;
            }};
  }

  void check() const {}

  /// There is nothing to set.
  template <class Self, class Visitor>
  static void describe(Self&, Visitor&&) {}
};

}  // namespace patchdiff
