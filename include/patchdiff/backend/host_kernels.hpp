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

/// Which of a patch's rows or columns lie in the image: [begin, end), counted from the patch's own first one.
struct Overlap {
  std::int64_t corner;  ///< of the patch in the image; farther outside than by its length shows no more of it
  std::int64_t begin, end;

  /// Sums with a corner at the ends of the integers would overflow.
  constexpr Overlap(std::int64_t place, std::int64_t length, std::int64_t extent) noexcept
      : corner(std::clamp(place, -length, extent)),
        begin(std::max<std::int64_t>(-corner, 0)),
        end(std::clamp(extent - corner, begin, length)) {}

  constexpr bool empty() const noexcept { return begin == end; }
};

/// Copies the patch at a place out of one plane, with zeros where it lies outside; pixels of any type, by their bytes.
inline void crop_plane(const std::byte* plane, ImageSize image, const Place& place, ImageSize patch,
                       std::int64_t pixel_bytes, std::byte* out) noexcept {
  const auto in_bytes = [pixel_bytes](std::int64_t pixels) { return static_cast<std::size_t>(pixels * pixel_bytes); };
  const std::size_t row_bytes = in_bytes(patch.width);
  const auto pixel = [&](std::int64_t row, std::int64_t column) {
    return plane + in_bytes(row * image.width + column);
  };
  if (place.top >= 0 && place.left >= 0 && place.top <= image.height - patch.height &&
      place.left <= image.width - patch.width) {
    return copy_rows(pixel(place.top, place.left), in_bytes(image.width), patch.height, row_bytes, out);
  }
  const Overlap rows(place.top, patch.height, image.height), columns(place.left, patch.width, image.width);
  for (std::int64_t row = 0; row < patch.height; ++row, out += row_bytes) {
    if (row < rows.begin || row >= rows.end || columns.empty()) {
      std::memset(out, 0, row_bytes);
      continue;
    }
    std::memset(out, 0, in_bytes(columns.begin));
    std::memcpy(out + in_bytes(columns.begin), pixel(rows.corner + row, columns.corner + columns.begin),
                in_bytes(columns.end - columns.begin));
    std::memset(out + in_bytes(columns.end), 0, in_bytes(patch.width - columns.end));
  }
}

/// Adds a patch to a plane at a place, without what lies outside.
template <class Scalar>
void accumulate_plane(const Scalar* patch, ImageSize size, const Place& place, ImageSize image,
                      Scalar* plane) noexcept {
  const Overlap rows(place.top, size.height, image.height), columns(place.left, size.width, image.width);
  if (columns.empty()) return;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const Scalar* from = patch + row * size.width;
    Scalar* to = plane + (rows.corner + row) * image.width + columns.corner + columns.begin;
    for (std::int64_t column = columns.begin; column < columns.end; ++column) *to++ += from[column];
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
