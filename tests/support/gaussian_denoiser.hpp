// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// The perfect denoiser of images whose pixels are independent normal numbers: every answer has a closed form.
template <Backend B>
struct GaussianDenoiser {
  using Backend = B;
  using Tensor = typename B::Tensor;

  ImageShape shape{};
  double mean = 0;
  double deviation = 0.5;
  typename B::Device on{};

  struct Record {
    Tensor denoised;
    std::vector<double> slope;
  };

  /// D = (S^2 x + sigma^2 m) / (S^2 + sigma^2).
  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places&, const Conditioning<B>&) const {
    const std::vector<double> ones(static_cast<std::size_t>(element_count(B::shape(x))), 1.0);
    std::vector<double> of_x, of_mean;
    for (const double level : sigma) {
      const double variance = deviation * deviation + level * level;
      of_x.push_back(deviation * deviation / variance);
      of_mean.push_back(mean * level * level / variance);
    }
    return B::combine(of_x, x, of_mean, B::from_host(std::span<const double>(ones), B::shape(x), on));
  }

  Record record(const Tensor& x, std::span<const double> sigma, const Places& places,
                const Conditioning<B>& conditioning, const Pass&) const {
    std::vector<double> slope;
    for (const double level : sigma) slope.push_back(deviation * deviation / (deviation * deviation + level * level));
    return {(*this)(x, sigma, places, conditioning), std::move(slope)};
  }

  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) const {
    return B::scale(record.slope, cotangent);
  }

  /// The log density of a pixel at a noise level.
  double log_density(double x, double sigma) const {
    const double spread = std::hypot(deviation, sigma), z = (x - mean) / spread;
    return -z * z / 2 - std::log(spread) - std::log(2 * std::numbers::pi) / 2;
  }

  /// Where the ODE takes a pixel of value x at noise level `from`, once it is at level `to`.
  double solution(double x, double from, double to) const {
    return mean + (x - mean) * std::hypot(deviation, to) / std::hypot(deviation, from);
  }

  ImageShape image() const { return shape; }
  std::int64_t label_dim() const { return 0; }
  typename B::Device device() const { return on; }
};

}  // namespace patchdiff
