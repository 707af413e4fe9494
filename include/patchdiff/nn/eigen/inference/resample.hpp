// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>

namespace patchdiff::inference {

/// Writes the mean of each 2x2 pixels of x.
template <class Scalar>
void halve(const ImageView<Scalar>& x, const ImageView<Scalar>& out, ExecutorReference executor) {
  using ConstMap = Eigen::Map<const Values<Scalar>>;
  executor.parallel_for_blocks(out.size.height, rows_of_task(out), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t y = first; y < last; ++y) {
      for (std::int64_t column = 0; column < out.size.width; ++column) {
        const auto pixel = [&](std::int64_t down, std::int64_t right) {
          return ConstMap(x.pixel(2 * y + down, 2 * column + right), x.channels);
        };
        Values<Scalar>::Map(out.pixel(y, column), x.channels) =
            (pixel(0, 0) + pixel(0, 1) + pixel(1, 0) + pixel(1, 1)) * Scalar(0.25);
      }
    }
  });
}

/// Writes each pixel of x as 2x2 equal ones.
template <class Scalar>
void double_sides(const ImageView<Scalar>& x, const ImageView<Scalar>& out, ExecutorReference executor) {
  executor.parallel_for_blocks(out.size.height, rows_of_task(out), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t y = first; y < last; ++y) {
      for (std::int64_t column = 0; column < out.size.width; ++column) {
        std::copy_n(x.pixel(y / 2, column / 2), x.channels, out.pixel(y, column));
      }
    }
  });
}

/// Writes the channels of x, then those of y, for each pixel.
template <class Scalar>
void join(const ImageView<Scalar>& x, const ImageView<Scalar>& y, const ImageView<Scalar>& out,
          ExecutorReference executor) {
  executor.parallel_for_blocks(out.size.height, rows_of_task(out), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      for (std::int64_t column = 0; column < out.size.width; ++column) {
        Scalar* to = std::copy_n(x.pixel(row, column), x.channels, out.pixel(row, column));
        std::copy_n(y.pixel(row, column), y.channels, to);
      }
    }
  });
}

}  // namespace patchdiff::inference
