// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>

namespace patchdiff::layers {

/// Some whole rows of an image of which each pixel is seen with its neighbours, as a matrix.
///
/// Row (channel, ky, kx) holds, for each pixel (y, x) of those rows, the number at (y + ky - 1, x + kx - 1), 0 outside.
class Neighbours {
 public:
  /// The rows [first, last) of an image.
  Neighbours(ImageSize image, std::int64_t first, std::int64_t last)
      : image_(image), start_(first * image.width), pixels_((last - first) * image.width) {}

  std::int64_t pixels() const noexcept { return pixels_; }

  /// Writes the matrix [9 C, pixels()].
  template <class Scalar>
  void gather(const FeatureMap<Scalar>& x, Scalar* matrix) const {
    visit(x.channels(), [&](std::int64_t channel, Shift shift, std::int64_t row) {
      const Scalar* plane = x.values.data() + channel * x.pixels();
      Scalar* out = matrix + row * pixels_;
      std::fill(out, out + shift.begin, Scalar{0});
      std::copy(plane + shift.begin + shift.by, plane + shift.end + shift.by, out + shift.begin);
      std::fill(out + shift.end, out + pixels_, Scalar{0});
      clear_border(out, shift.column);
    });
  }

  /// The transpose of `gather`: adds the matrix's numbers to the pixels that they come from; destroys the matrix.
  template <class Scalar>
  void scatter(Scalar* matrix, FeatureMap<Scalar>& x) const {
    visit(x.channels(), [&](std::int64_t channel, Shift shift, std::int64_t row) {
      Scalar* in = matrix + row * pixels_;
      clear_border(in, shift.column);
      const std::int64_t count = shift.end - shift.begin;
      Column<Scalar>::Map(x.values.data() + channel * x.pixels() + shift.begin + shift.by, count) +=
          Column<Scalar>::Map(in + shift.begin, count);
    });
  }

 private:
  /// Pixels begin to end of the rows have their neighbour within the image, `by` numbers further on in its plane.
  struct Shift {
    std::int64_t begin = 0, end = 0, by = 0;
    std::int64_t column = -1;  ///< whose neighbour lies beyond the left or right border; -1: none
  };

  template <class F>
  void visit(std::int64_t channels, F&& f) const {
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        const std::int64_t down = tap / 3 - 1, right = tap % 3 - 1;
        const std::int64_t by = start_ + down * image_.width + right;
        const std::int64_t begin = std::clamp<std::int64_t>(-by, 0, pixels_);
        const std::int64_t end = std::clamp<std::int64_t>(pixel_count(image_) - by, begin, pixels_);
        const std::int64_t column = right == 0 ? -1 : right < 0 ? 0 : image_.width - 1;
        f(channel, Shift{begin, end, begin < end ? by : -begin, column}, channel * 9 + tap);
      }
    }
  }

  template <class Scalar>
  void clear_border(Scalar* row, std::int64_t column) const {
    if (column < 0) return;
    for (std::int64_t pixel = column; pixel < pixels_; pixel += image_.width) row[pixel] = 0;
  }

  ImageSize image_;
  std::int64_t start_;
  std::int64_t pixels_;
};

}  // namespace patchdiff::layers
