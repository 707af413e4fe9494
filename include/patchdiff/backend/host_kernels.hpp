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

/// Copies the patch at a place out of one plane, with zeros where it lies outside; pixels of any type, by their bytes.
inline void crop_plane(const std::byte* plane, ImageSize image, const Place& place, ImageSize patch,
                       std::int64_t pixel_bytes, std::byte* out) noexcept {
  const auto in_bytes = [pixel_bytes](std::int64_t pixels) { return static_cast<std::size_t>(pixels * pixel_bytes); };
  const std::size_t row_bytes = in_bytes(patch.width);
  if (place.top >= 0 && place.left >= 0 && place.top + patch.height <= image.height &&
      place.left + patch.width <= image.width) {
    const std::byte* from = plane + in_bytes(place.top * image.width + place.left);
    for (std::int64_t row = 0; row < patch.height; ++row, from += in_bytes(image.width), out += row_bytes) {
      std::memcpy(out, from, row_bytes);
    }
    return;
  }
  const std::int64_t first = std::clamp<std::int64_t>(-place.left, 0, patch.width);
  const std::int64_t last = std::clamp<std::int64_t>(image.width - place.left, first, patch.width);
  for (std::int64_t row = 0; row < patch.height; ++row, out += row_bytes) {
    const std::int64_t from_row = place.top + row;
    if (from_row < 0 || from_row >= image.height || first == last) {
      std::memset(out, 0, row_bytes);
      continue;
    }
    std::memset(out, 0, in_bytes(first));
    std::memcpy(out + in_bytes(first), plane + in_bytes(from_row * image.width + place.left + first),
                in_bytes(last - first));
    std::memset(out + in_bytes(last), 0, in_bytes(patch.width - last));
  }
}

/// Adds a patch to a plane at a place, without what lies outside.
template <class Scalar>
void accumulate_plane(const Scalar* patch, ImageSize size, const Place& place, ImageSize image,
                      Scalar* plane) noexcept {
  const std::int64_t first_row = std::clamp<std::int64_t>(-place.top, 0, size.height);
  const std::int64_t end_row = std::clamp<std::int64_t>(image.height - place.top, first_row, size.height);
  const std::int64_t first = std::clamp<std::int64_t>(-place.left, 0, size.width);
  const std::int64_t end = std::clamp<std::int64_t>(image.width - place.left, first, size.width);
  if (first == end) return;
  for (std::int64_t row = first_row; row < end_row; ++row) {
    const Scalar* from = patch + row * size.width;
    Scalar* to = plane + (place.top + row) * image.width + (place.left + first);
    for (std::int64_t column = first; column < end; ++column) *to++ += from[column];
  }
}

/// Evaluates a place's map on every pixel of a patch; out [2, h, w], x then y.
template <class Scalar>
void coordinate_planes(const PixelMap& map, ImageSize patch, ImageSize image, Scalar* out) noexcept {
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
  const bool axes_kept = map.column_from_row == 0 && map.row_from_column == 0;
  for (std::int64_t row = 0; row < patch.height; ++row, x += patch.width, y += patch.width) {
    if (axes_kept && row > 0) {
      std::copy_n(out, patch.width, x);
    } else {
      for (std::int64_t column = 0; column < patch.width; ++column) x[column] = x_at(row, column);
    }
    if (axes_kept) {
      std::fill_n(y, patch.width, y_at(row, 0));
    } else {
      for (std::int64_t column = 0; column < patch.width; ++column) y[column] = y_at(row, column);
    }
  }
}

}  // namespace patchdiff::host_kernels
