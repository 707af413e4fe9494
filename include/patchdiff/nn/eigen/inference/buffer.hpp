// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>

namespace patchdiff::inference {

/// Memory for one thing at a time, which grows to the largest that was asked for and is kept.
template <class Scalar>
class Buffer {
 public:
  /// `count` values, yet to be written; what was there before is gone.
  Scalar* values(std::int64_t count) {
    if (memory_.size() < count) memory_.resize(count);
    return memory_.data();
  }

  /// An image whose values are yet to be written.
  ImageView<Scalar> image(ImageSize size, std::int64_t channels) {
    return {values(pixel_count(size) * channels), size, channels, size.width * channels};
  }

  /// The same inside a border of one pixel of zeros, as a convolution of 3x3 reads it.
  ImageView<Scalar> bordered(ImageSize size, std::int64_t channels) {
    const std::int64_t stride = (size.width + 2) * channels;
    Scalar* top = values((size.height + 2) * stride);
    std::fill_n(top, stride, Scalar{0});
    std::fill_n(top + (size.height + 1) * stride, stride, Scalar{0});
    for (std::int64_t y = 1; y <= size.height; ++y) {
      std::fill_n(top + y * stride, channels, Scalar{0});
      std::fill_n(top + (y + 1) * stride - channels, channels, Scalar{0});
    }
    return {top + stride + channels, size, channels, stride};
  }

 private:
  Values<Scalar> memory_{};
};

}  // namespace patchdiff::inference
