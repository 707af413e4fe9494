// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>

/// Loops over the host's memory that backends share; each does the part of one task.
namespace patchdiff::host_kernels {

/// Copies rows that lie `stride` bytes apart, back to back. Short rows of usual lengths are copied in place: a call of
/// memcpy costs as much as their bytes.
inline void copy_rows(const std::byte* from, std::size_t stride, std::int64_t rows, std::size_t bytes,
                      std::byte* out) noexcept {
  const auto copy = [&]<std::size_t Bytes>() {
    for (std::int64_t row = 0; row < rows; ++row, from += stride, out += Bytes) std::memcpy(out, from, Bytes);
  };
  switch (bytes) {
    case 16: return copy.template operator()<16>();
    case 32: return copy.template operator()<32>();
    case 64: return copy.template operator()<64>();
    case 128: return copy.template operator()<128>();
    case 256: return copy.template operator()<256>();
    default:
      for (std::int64_t row = 0; row < rows; ++row, from += stride, out += bytes) std::memcpy(out, from, bytes);
  }
}

/// Copies the patch at a place out of one plane, with zeros where it lies outside; pixels of any type, by their bytes.
inline void crop_plane(const std::byte* plane, ImageSize image, const Place& place, ImageSize patch,
                       std::int64_t pixel_bytes, std::byte* out) noexcept {
  const auto in_bytes = [pixel_bytes](std::int64_t pixels) { return static_cast<std::size_t>(pixels * pixel_bytes); };
  const std::size_t row_bytes = in_bytes(patch.width);
  // A corner that lies farther outside shows no more of the image, and sums with it could overflow.
  const std::int64_t top = std::clamp(place.top, -patch.height, image.height);
  const std::int64_t left = std::clamp(place.left, -patch.width, image.width);
  if (top >= 0 && left >= 0 && top + patch.height <= image.height && left + patch.width <= image.width) {
    const std::byte* from = plane + in_bytes(top * image.width + left);
    return copy_rows(from, in_bytes(image.width), patch.height, row_bytes, out);
  }
  const std::int64_t first = std::clamp<std::int64_t>(-left, 0, patch.width);
  const std::int64_t last = std::clamp<std::int64_t>(image.width - left, first, patch.width);
  for (std::int64_t row = 0; row < patch.height; ++row, out += row_bytes) {
    const std::int64_t from_row = top + row;
    if (from_row < 0 || from_row >= image.height || first == last) {
      std::memset(out, 0, row_bytes);
      continue;
    }
    std::memset(out, 0, in_bytes(first));
    std::memcpy(out + in_bytes(first), plane + in_bytes(from_row * image.width + left + first), in_bytes(last - first));
    std::memset(out + in_bytes(last), 0, in_bytes(patch.width - last));
  }
}

/// Adds a patch to a plane at a place, without what lies outside.
template <class Scalar>
void accumulate_plane(const Scalar* patch, ImageSize size, const Place& place, ImageSize image,
                      Scalar* plane) noexcept {
  const std::int64_t top = std::clamp(place.top, -size.height, image.height);
  const std::int64_t left = std::clamp(place.left, -size.width, image.width);
  const std::int64_t first_row = std::clamp<std::int64_t>(-top, 0, size.height);
  const std::int64_t end_row = std::clamp<std::int64_t>(image.height - top, first_row, size.height);
  const std::int64_t first = std::clamp<std::int64_t>(-left, 0, size.width);
  const std::int64_t end = std::clamp<std::int64_t>(image.width - left, first, size.width);
  if (first == end) return;
  for (std::int64_t row = first_row; row < end_row; ++row) {
    const Scalar* from = patch + row * size.width;
    Scalar* to = plane + (top + row) * image.width + (left + first);
    for (std::int64_t column = first; column < end; ++column) *to++ += from[column];
  }
}

/// Fills by pieces of 64 bytes, which compilers make vectors of without being asked to.
template <class Scalar>
void fill_row(Scalar* out, std::int64_t count, Scalar value) noexcept {
  constexpr std::int64_t piece = 64 / static_cast<std::int64_t>(sizeof(Scalar));
  Scalar values[piece];
  for (Scalar& each : values) each = value;
  for (; count >= piece; count -= piece, out += piece) std::memcpy(out, values, sizeof values);
  std::fill_n(out, count, value);
}

/// Evaluates a place's map on every pixel of a patch; out [2, h, w], x then y.
template <class Scalar>
void coordinate_planes(const PixelMap& map, ImageSize patch, ImageSize image, Scalar* out) noexcept {
  if (pixel_count(patch) == 0) return;
  const auto x_at = [&](std::int64_t row, std::int64_t column) {
    return static_cast<Scalar>(
        normalised_position(map.column(static_cast<double>(row), static_cast<double>(column)), image.width));
  };
  const auto y_at = [&](std::int64_t row, std::int64_t column) {
    return static_cast<Scalar>(
        normalised_position(map.row(static_cast<double>(row), static_cast<double>(column)), image.height));
  };
  Scalar* x = out;
  Scalar* y = out + pixel_count(patch);
  if (map.column_from_row == 0 && map.row_from_column == 0) {
    for (std::int64_t column = 0; column < patch.width; ++column) x[column] = x_at(0, column);
    for (std::int64_t rows = 1; rows < patch.height; rows *= 2) {
      std::copy_n(x, std::min(rows, patch.height - rows) * patch.width, x + rows * patch.width);
    }
    for (std::int64_t row = 0; row < patch.height; ++row) fill_row(y + row * patch.width, patch.width, y_at(row, 0));
    return;
  }
  for (std::int64_t row = 0; row < patch.height; ++row, x += patch.width, y += patch.width) {
    for (std::int64_t column = 0; column < patch.width; ++column) {
      x[column] = x_at(row, column);
      y[column] = y_at(row, column);
    }
  }
}

}  // namespace patchdiff::host_kernels
