// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <Eigen/Core>

#include <patchdiff/core/image_size.hpp>

/// Layers of networks on Eigen, each with its hand-written gradient; they work on one sample, on the calling thread.
namespace patchdiff::layers {

template <class Scalar>
using Column = Eigen::Array<Scalar, Eigen::Dynamic, 1>;

template <class Scalar>
using Rows = Eigen::Array<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The activations of one sample: one row per channel, which holds its pixels row by row.
template <class Scalar>
struct FeatureMap {
  FeatureMap() = default;
  FeatureMap(std::int64_t channels, ImageSize of) : size(of), values(channels, pixel_count(of)) {}

  std::int64_t channels() const noexcept { return values.rows(); }
  std::int64_t pixels() const noexcept { return values.cols(); }

  ImageSize size{};
  Rows<Scalar> values{};
};

/// The mean of each 2x2 pixels; height and width must be even.
template <class Scalar>
FeatureMap<Scalar> halved(const FeatureMap<Scalar>& x) {
  FeatureMap<Scalar> y(x.channels(), {x.size.height / 2, x.size.width / 2});
  const std::int64_t width = x.size.width;
  const Scalar* in = x.values.data();
  Scalar* out = y.values.data();
  for (std::int64_t row = 0; row < x.channels() * y.size.height; ++row, in += 2 * width) {
    for (std::int64_t column = 0; column < width; column += 2) {
      *out++ = (in[column] + in[column + 1] + in[width + column] + in[width + column + 1]) / 4;
    }
  }
  return y;
}

/// Each pixel as 2x2 equal ones.
template <class Scalar>
FeatureMap<Scalar> doubled(const FeatureMap<Scalar>& x) {
  FeatureMap<Scalar> y(x.channels(), {x.size.height * 2, x.size.width * 2});
  const std::int64_t width = y.size.width;
  const Scalar* in = x.values.data();
  Scalar* out = y.values.data();
  for (std::int64_t row = 0; row < x.channels() * x.size.height; ++row, out += 2 * width) {
    for (std::int64_t column = 0; column < width; column += 2) {
      out[column] = out[column + 1] = out[width + column] = out[width + column + 1] = *in++;
    }
  }
  return y;
}

}  // namespace patchdiff::layers
