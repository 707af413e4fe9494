// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <Eigen/Core>

#include <patchdiff/core/image_size.hpp>

/// Layers of a network that only runs forward: on one sample at a time, in memory that is reused, with the channels of
/// a pixel side by side. Work is divided by sizes alone, so the bits do not depend on the executor.
namespace patchdiff::inference {

template <class Scalar>
using Values = Eigen::Array<Scalar, Eigen::Dynamic, 1>;

/// The activations of one sample in someone else's memory, row by row; rows may lie further apart than they are long.
template <class Scalar>
struct ImageView {
  Scalar* data = nullptr;
  ImageSize size{};
  std::int64_t channels = 0;
  std::int64_t stride = 0;  ///< values from one row to the next

  Scalar* row(std::int64_t y) const noexcept { return data + y * stride; }
  Scalar* pixel(std::int64_t y, std::int64_t x) const noexcept { return row(y) + x * channels; }
  std::int64_t row_values() const noexcept { return size.width * channels; }
};

/// Rows that one task works on, such that it touches about 16384 values.
template <class Scalar>
std::int64_t rows_of_task(const ImageView<Scalar>& x) noexcept {
  const std::int64_t rows = 16384 / (x.row_values() + 1);
  return rows < 1 ? 1 : rows;
}

}  // namespace patchdiff::inference
