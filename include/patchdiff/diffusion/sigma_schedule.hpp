// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/sigma_range.hpp>

namespace patchdiff {

/// How far `step` lies from the first step (0) to the last (1); 0 for a single step.
inline double step_fraction(std::int64_t step, std::int64_t num_steps) noexcept {
  return num_steps > 1 ? static_cast<double>(step) / static_cast<double>(num_steps - 1) : 0;
}

/// The noise levels of EDM's sampler.
struct EDMSigmaOptions {
  double sigma_min = 0.002;  ///< last noise level before 0, > 0
  double sigma_max = 80;     ///< first noise level, > sigma_min
  double rho = 7;            ///< spacing of the levels, > 0; 1 is even spacing
};

/// The noise levels at which a sampler steps, as a function of their number.
class SigmaSchedule {
 public:
  /// A schedule of the host's own: `sigmas(num_steps)` gives that many falling values > 0.
  SigmaSchedule(std::string name, std::function<std::vector<double>(std::int64_t)> sigmas)
      : name_(std::move(name)), sigmas_(std::move(sigmas)) {}

  /// EDM's levels, also known as Karras's: evenly spaced in sigma^(1 / rho).
  ///
  /// Source: EDM (arXiv 2206.00364), equation 5.
  static SigmaSchedule edm(EDMSigmaOptions options = {}) {
    require_sigma_range("SigmaSchedule::edm", options.sigma_min, options.sigma_max);
    require<ConfigError>(options.rho > 0 && std::isfinite(options.rho), "SigmaSchedule::edm", "rho",
                         "a finite value > 0", options.rho);
    const double first = std::pow(options.sigma_max, 1 / options.rho);
    const double last = std::pow(options.sigma_min, 1 / options.rho);
    return spaced("edm", [=](double fraction) { return std::pow(first + fraction * (last - first), options.rho); });
  }

  /// Evenly spaced in sigma.
  static SigmaSchedule linear(double sigma_min, double sigma_max) {
    require_sigma_range("SigmaSchedule::linear", sigma_min, sigma_max);
    return spaced("linear", [=](double fraction) { return sigma_max + fraction * (sigma_min - sigma_max); });
  }

  /// Evenly spaced in ln sigma, the levels of VE.
  static SigmaSchedule geometric(double sigma_min, double sigma_max) {
    require_sigma_range("SigmaSchedule::geometric", sigma_min, sigma_max);
    return spaced("geometric", [=](double fraction) { return sigma_max * std::pow(sigma_min / sigma_max, fraction); });
  }

  /// Evenly spaced in the time of a process, the levels of VP.
  static SigmaSchedule uniform_in_time(NoiseProcess process, double first, double last) {
    return spaced("uniform_in_time, " + process.name(),
                  [=](double fraction) { return process.at(last + fraction * (first - last)).level.sigma; });
  }

  /// These levels, for that many steps.
  static SigmaSchedule list(std::vector<double> sigmas) {
    return {"list", [sigmas = std::move(sigmas)](std::int64_t num_steps) {
              if (num_steps != static_cast<std::int64_t>(sigmas.size())) {
                refuse<ConfigError>("SigmaSchedule", "num_steps", str(sigmas.size(), ", one per value of the list"),
                                    str(num_steps));
              }
              return sigmas;
            }};
  }

  /// The levels of `num_steps` steps, from the highest down, without the 0 at which the last step ends.
  ///
  /// Errors: ConfigError for a number of steps < 1, and where the levels do not fall or are not finite and > 0.
  std::vector<double> operator()(std::int64_t num_steps) const {
    require<ConfigError>(num_steps >= 1, "SigmaSchedule", "num_steps", "at least 1", num_steps);
    std::vector<double> sigmas = sigmas_(num_steps);
    if (sigmas.size() != static_cast<std::size_t>(num_steps)) {
      refuse<ConfigError>("SigmaSchedule", name_, str(num_steps, " values"), str(sigmas.size()));
    }
    for (std::size_t step = 0; step < sigmas.size(); ++step) {
      if (!(sigmas[step] > 0) || !std::isfinite(sigmas[step])) {
        refuse<ConfigError>("SigmaSchedule", name_, "finite values > 0", str(sigmas[step], " at step ", step));
      }
      if (step > 0 && !(sigmas[step] < sigmas[step - 1])) {
        refuse<ConfigError>("SigmaSchedule", name_, "falling values",
                            str(sigmas[step], " at step ", step, " after ", sigmas[step - 1]));
      }
    }
    return sigmas;
  }

  const std::string& name() const noexcept { return name_; }

 private:
  /// `sigma(fraction)` runs from sigma_max at 0 to sigma_min at 1.
  template <class Sigma>
  static SigmaSchedule spaced(std::string name, Sigma sigma) {
    return {std::move(name), [sigma](std::int64_t num_steps) {
              std::vector<double> sigmas;
              for (std::int64_t step = 0; step < num_steps; ++step)
                sigmas.push_back(sigma(step_fraction(step, num_steps)));
              return sigmas;
            }};
  }

  std::string name_;
  std::function<std::vector<double>(std::int64_t)> sigmas_;
};

}  // namespace patchdiff
