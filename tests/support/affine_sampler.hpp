// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

#include "custom_backend/span_backend.hpp"

namespace patchdiff {

/// A normal law of two numbers.
struct NormalPair {
  std::array<double, 2> mean{};
  double variance0 = 0, variance1 = 0, covariance = 0;
};

/// The perfect denoiser of images of one pixel and two channels that are normal and correlated.
struct CorrelatedDenoiser {
  using Backend = host::SpanBackend<double>;
  using Tensor = Backend::Tensor;

  /// The covariance has the eigenvectors (1, 1) and (1, -1).
  static constexpr std::array<double, 2> mean{0.3, -0.2};
  static constexpr double sum_variance = 0.49, difference_variance = 0.04;

  static NormalPair law() {
    const double variance = (sum_variance + difference_variance) / 2;
    return {mean, variance, variance, (sum_variance - difference_variance) / 2};
  }

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places&, const Conditioning<Backend>&) const {
    Tensor denoised = Backend::clone(x);
    for (std::size_t n = 0; n < sigma.size(); ++n) {
      double* pair = &denoised.values[2 * n];
      const double noise = sigma[n] * sigma[n];
      const double sum = (pair[0] - mean[0] + pair[1] - mean[1]) * sum_variance / (sum_variance + noise);
      const double difference =
          (pair[0] - mean[0] - (pair[1] - mean[1])) * difference_variance / (difference_variance + noise);
      pair[0] = mean[0] + (sum + difference) / 2;
      pair[1] = mean[1] + (sum - difference) / 2;
    }
    return denoised;
  }

  struct Record {
    Tensor denoised;
    std::vector<double> sigma;
  };

  Record record(const Tensor& x, std::span<const double> sigma, const Places& places,
                const Conditioning<Backend>& conditioning, const Pass&) const {
    return {(*this)(x, sigma, places, conditioning), {sigma.begin(), sigma.end()}};
  }

  /// The Jacobian is symmetric: what the denoiser does to a difference of states.
  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) const {
    Tensor shifted = Backend::clone(cotangent);
    for (std::size_t i = 0; i < shifted.values.size(); ++i) shifted.values[i] += mean[i % 2];
    shifted = (*this)(shifted, record.sigma, {}, {});
    for (std::size_t i = 0; i < shifted.values.size(); ++i) shifted.values[i] -= mean[i % 2];
    return shifted;
  }

  /// The log density of an image at a noise level.
  static double log_density(double first, double second, double sigma) {
    const double sum = first - mean[0] + second - mean[1], difference = first - mean[0] - (second - mean[1]);
    const double of_sum = sum_variance + sigma * sigma, of_difference = difference_variance + sigma * sigma;
    return -(sum * sum / of_sum + difference * difference / of_difference) / 4 - std::log(of_sum * of_difference) / 2 -
           std::log(2 * std::numbers::pi);
  }

  ImageShape image() const { return {2, 1, 1}; }
  std::int64_t label_dim() const { return 0; }
  host::Memory device() const { return {}; }
};

/// The exact law of what a sampler draws from CorrelatedDenoiser, without sampling.
///
/// Every step is affine in the state and its noise there, so one run in which each sample gets a single 1 among all of
/// its noise shows every coefficient. For solvers that draw at most once a step.
template <class S>
NormalPair law_of(const ODESampler<S>& sampler) {
  using B = host::SpanBackend<double>;
  const std::int64_t steps = sampler.options().num_steps;
  // Sample 0 has no noise; then two samples with a 1 in one channel for the start, and for each step.
  const std::int64_t samples = 1 + 2 * (1 + steps);
  const auto impulse = [&](std::int64_t first) {
    B::Tensor noise = B::zeros({samples, 2, 1, 1}, {});
    noise.values[static_cast<std::size_t>(2 * first)] = 1;
    noise.values[static_cast<std::size_t>(2 * (first + 1) + 1)] = 1;
    return noise;
  };
  const auto noise = [&](std::int64_t step, std::int64_t draw) {
    if (draw > 0) throw std::logic_error("law_of: the solver draws more than once a step");
    return impulse(3 + 2 * step);
  };
  const B::Tensor ends = sampler.solve(CorrelatedDenoiser{}, impulse(1), Places::whole({1, 1}, samples), {}, noise);
  NormalPair law{{ends.values[0], ends.values[1]}};
  for (std::size_t n = 1; n < static_cast<std::size_t>(samples); ++n) {
    const double gain0 = ends.values[2 * n] - law.mean[0], gain1 = ends.values[2 * n + 1] - law.mean[1];
    law.variance0 += gain0 * gain0;
    law.variance1 += gain1 * gain1;
    law.covariance += gain0 * gain1;
  }
  return law;
}

/// The largest difference between two laws.
inline double distance(const NormalPair& a, const NormalPair& b) {
  return std::max({std::abs(a.mean[0] - b.mean[0]), std::abs(a.mean[1] - b.mean[1]),
                   std::abs(a.variance0 - b.variance0), std::abs(a.variance1 - b.variance1),
                   std::abs(a.covariance - b.covariance)});
}

}  // namespace patchdiff
