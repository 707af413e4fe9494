// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include <patchdiff/diffusion/noise_level.hpp>

namespace patchdiff {

/// The level of a noise process at one time, and the derivatives of its two numbers by time.
struct NoiseMoment {
  NoiseLevel level{};
  double scale_rate = 0;  ///< s'(t)
  double sigma_rate = 1;  ///< sigma'(t)

  /// f with f(x, t) = f x, the drift of the forward SDE dx = f x dt + g dw.
  double drift() const noexcept { return scale_rate / level.scale; }

  /// g, the diffusion of the forward SDE: g^2 = 2 s^2 sigma sigma'. NaN at time 0 where sigma' is infinite, as of VP
  /// and VE.
  double diffusion() const noexcept { return level.scale * std::sqrt(2 * level.sigma * sigma_rate); }
};

/// How images turn into noise over time: x(t) = s(t) (x0 + sigma(t) n), from the data at time 0 on.
///
/// Equal to the forward SDE dx = f x dt + g dw with f = s'/s and g^2 = 2 s^2 sigma sigma'.
/// Source: EDM (arXiv 2206.00364), appendix B; SDE (arXiv 2011.13456), equations 5 and 29.
class NoiseProcess {
 public:
  /// A process of the host's own: `at(t)` with sigma(0) = 0 and s(0) = 1, and `time`, the inverse of sigma for sigma >
  /// 0.
  NoiseProcess(std::string name, std::function<NoiseMoment(double)> at, std::function<double(double)> time)
      : name_(std::move(name)), at_(std::move(at)), time_(std::move(time)) {}

  /// EDM's: the time is sigma itself, images are not scaled.
  static NoiseProcess edm() {
    return {"edm", [](double time) { return NoiseMoment{.level = {.sigma = time}}; },
            [](double sigma) { return sigma; }};
  }

  NoiseMoment at(double time) const { return at_(time); }

  /// The time at which the noise level is sigma.
  double time(double sigma) const { return sigma == 0 ? 0 : time_(sigma); }

  /// The same sigma(t) without scaling: s = 1.
  NoiseProcess unscaled() const {
    return {name_ + ", unscaled",
            [at = at_](double time) {
              const NoiseMoment moment = at(time);
              return NoiseMoment{.level = {.sigma = moment.level.sigma}, .sigma_rate = moment.sigma_rate};
            },
            time_};
  }

  /// The same sigma(t) with s = 1 / sqrt(1 + sigma^2), which keeps the variance of images of unit variance.
  NoiseProcess variance_preserving() const {
    return {name_ + ", variance preserving",
            [at = at_](double time) {
              const NoiseMoment moment = at(time);
              const double sigma = moment.level.sigma, scale = 1 / std::hypot(1, sigma);
              return NoiseMoment{.level = {scale, sigma},
                                 .scale_rate = -sigma * moment.sigma_rate * scale * scale * scale,
                                 .sigma_rate = moment.sigma_rate};
            },
            time_};
  }

  const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  std::function<NoiseMoment(double)> at_;
  std::function<double(double)> time_;
};

}  // namespace patchdiff
