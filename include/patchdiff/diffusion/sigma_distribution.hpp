// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/sigma_range.hpp>

namespace patchdiff {

/// The standard normal quantile: the z with P(Z <= z) = probability, for a probability in (0, 1).
///
/// Accurate to about 1e-15 relative, near 1/2 to 1e-16 absolute: Acklam's rational approximation, then one step of
/// Halley's method.
inline double normal_quantile(double probability) {
  const auto polynomial = [](double x, std::initializer_list<double> coefficients) {
    double value = 0;
    for (const double coefficient : coefficients) value = value * x + coefficient;
    return value;
  };
  const auto tail = [&](double p) {
    const double q = std::sqrt(-2 * std::log(p));
    return polynomial(q, {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00, 2.938163982698783e+00}) /
           polynomial(
               q, {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1.0});
  };
  if (probability > 0.5) return -normal_quantile(1 - probability);
  double z = 0;
  if (probability < 0.02425) {
    z = tail(probability);
  } else {
    const double q = probability - 0.5;
    z = q *
        polynomial(q * q, {-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02,
                           -3.066479806614716e+01, 2.506628277459239e+00}) /
        polynomial(q * q, {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                           -1.328068155288572e+01, 1.0});
  }
  const double error = 0.5 * std::erfc(-z / std::numbers::sqrt2) - probability;
  const double step = error * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
  return z - step / (1 + z * step / 2);
}

/// How training draws noise levels, as a quantile function: a uniform number in (0, 1) becomes a sigma.
class SigmaDistribution {
 public:
  /// A distribution of the host's own.
  SigmaDistribution(std::string name, std::function<double(double)> quantile)
      : name_(std::move(name)), quantile_(std::move(quantile)) {}

  /// ln sigma is normal with mean p_mean and standard deviation p_std.
  ///
  /// Source: EDM (arXiv 2206.00364), Table 1; its defaults are -1.2 and 1.2.
  static SigmaDistribution log_normal(double p_mean, double p_std) {
    require<ConfigError>(std::isfinite(p_mean), "SigmaDistribution::log_normal", "p_mean", "a finite value", p_mean);
    require<ConfigError>(p_std > 0 && std::isfinite(p_std), "SigmaDistribution::log_normal", "p_std",
                         "a finite value > 0", p_std);
    return {"log_normal", [=](double uniform) { return std::exp(p_mean + p_std * normal_quantile(uniform)); }};
  }

  /// ln sigma is uniform between those of sigma_min and sigma_max: VE's distribution.
  static SigmaDistribution log_uniform(double sigma_min, double sigma_max) {
    require_sigma_range("SigmaDistribution::log_uniform", sigma_min, sigma_max);
    return {"log_uniform", [=](double uniform) { return sigma_min * std::pow(sigma_max / sigma_min, uniform); }};
  }

  /// The time of a process is uniform between `first` and `last`: VP's distribution.
  static SigmaDistribution uniform_in_time(NoiseProcess process, double first, double last) {
    return {"uniform_in_time, " + process.name(),
            [=](double uniform) { return process.at(first + uniform * (last - first)).level.sigma; }};
  }

  /// Each of these sigmas is equally likely: the distribution of a finite list of noise levels.
  static SigmaDistribution uniform_over(std::vector<double> sigmas) {
    require<ConfigError>(!sigmas.empty(), "SigmaDistribution::uniform_over", "sigmas", "at least one value", "none");
    for (const double sigma : sigmas) {
      require<ConfigError>(sigma > 0 && std::isfinite(sigma), "SigmaDistribution::uniform_over", "sigmas",
                           "finite values > 0", sigma);
    }
    return {"uniform_over", [sigmas = std::move(sigmas)](double uniform) {
              return sigmas[static_cast<std::size_t>(uniform * static_cast<double>(sigmas.size()))];
            }};
  }

  double quantile(double uniform) const { return quantile_(uniform); }

  const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  std::function<double(double)> quantile_;
};

}  // namespace patchdiff
