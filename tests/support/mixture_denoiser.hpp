// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <utility>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

#include "custom_backend/span_backend.hpp"

namespace patchdiff {

/// The perfect denoiser of independent pixels that are normal about 1 with probability `weight`, else about -1.
struct MixtureDenoiser {
  using Backend = host::SpanBackend<double>;
  using Tensor = Backend::Tensor;

  ImageShape shape{};
  double weight = 0.3;
  double deviation = 0.05;

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places&, const Conditioning<Backend>&) const {
    Tensor denoised = Backend::clone(x);
    const std::size_t row = x.values.size() / sigma.size();
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      const double noise = sigma[i / row] * sigma[i / row], total = deviation * deviation + noise;
      // The posterior mean of the mode: the difference of its two probabilities.
      const double mode = std::tanh(x.values[i] / total - std::log((1 - weight) / weight) / 2);
      denoised.values[i] = (deviation * deviation * x.values[i] + noise * mode) / total;
    }
    return denoised;
  }

  struct Record {
    Tensor denoised;
    Tensor slope;
  };

  Record record(const Tensor& x, std::span<const double> sigma, const Places& places,
                const Conditioning<Backend>& conditioning, const Pass&) const {
    Tensor slope = Backend::clone(x);
    const std::size_t row = x.values.size() / sigma.size();
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      const double noise = sigma[i / row] * sigma[i / row], total = deviation * deviation + noise;
      const double mode = std::tanh(x.values[i] / total - std::log((1 - weight) / weight) / 2);
      slope.values[i] = deviation * deviation / total + noise * (1 - mode * mode) / (total * total);
    }
    return {(*this)(x, sigma, places, conditioning), std::move(slope)};
  }

  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) const {
    return Backend::multiply(record.slope, cotangent);
  }

  /// The log density of a pixel at a noise level.
  double log_density(double x, double sigma) const {
    const double variance = deviation * deviation + sigma * sigma;
    const auto at = [&](double mode) { return std::exp(-(x - mode) * (x - mode) / (2 * variance)); };
    return std::log((weight * at(1) + (1 - weight) * at(-1)) / std::sqrt(2 * std::numbers::pi * variance));
  }

  /// The probability of noisy pixels below x.
  double cdf(double x, double sigma) const {
    const double spread = std::hypot(deviation, sigma) * std::numbers::sqrt2;
    return (weight * std::erfc((1 - x) / spread) + (1 - weight) * std::erfc((-1 - x) / spread)) / 2;
  }

  /// Where the ODE takes a pixel of value x at noise level `from`, once it is at level `to`: it keeps the probability.
  double solution(double x, double from, double to) const {
    double low = -100, high = 100;
    for (int halving = 0; halving < 70; ++halving) {
      const double middle = (low + high) / 2;
      (cdf(middle, to) < cdf(x, from) ? low : high) = middle;
    }
    return (low + high) / 2;
  }

  ImageShape image() const { return shape; }
  std::int64_t label_dim() const { return 0; }
  host::Memory device() const { return {}; }
};

}  // namespace patchdiff
