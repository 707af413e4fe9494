// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace patchdiff {

/// The affine map from a patch's pixel (row, column) to a position in the full image, in pixels.
///
/// A plain crop is a shift; flips, rotations and scalings are the other coefficients.
struct PixelMap {
  double row_from_row = 1;        ///< rows in the image for each row of the patch
  double row_from_column = 0;     ///< rows in the image for each column of the patch
  double row_offset = 0;          ///< row in the image of the patch's first pixel
  double column_from_row = 0;     ///< columns in the image for each row of the patch
  double column_from_column = 1;  ///< columns in the image for each column of the patch
  double column_offset = 0;       ///< column in the image of the patch's first pixel

  double row(double patch_row, double patch_column) const noexcept {
    return row_from_row * patch_row + row_from_column * patch_column + row_offset;
  }

  double column(double patch_row, double patch_column) const noexcept {
    return column_from_row * patch_row + column_from_column * patch_column + column_offset;
  }

  /// The map of a patch of that width that was mirrored left to right, onto the patch as it was.
  static PixelMap mirrored(std::int64_t width) noexcept {
    return {.column_from_column = -1, .column_offset = static_cast<double>(width - 1)};
  }

  /// First `inner`, then this map: that of a crop that was mirrored is
  /// `crop.to_image.after(PixelMap::mirrored(width))`.
  PixelMap after(const PixelMap& inner) const noexcept {
    return {
        .row_from_row = row_from_row * inner.row_from_row + row_from_column * inner.column_from_row,
        .row_from_column = row_from_row * inner.row_from_column + row_from_column * inner.column_from_column,
        .row_offset = row(inner.row_offset, inner.column_offset),
        .column_from_row = column_from_row * inner.row_from_row + column_from_column * inner.column_from_row,
        .column_from_column = column_from_row * inner.row_from_column + column_from_column * inner.column_from_column,
        .column_offset = column(inner.row_offset, inner.column_offset)};
  }

  friend bool operator==(const PixelMap&, const PixelMap&) = default;
};

/// A position along an axis of `extent` pixels on the scale from -1 to 1, both exact at the outer pixels.
///
/// Along an axis of one pixel it is 0.
inline double normalised_position(double position, std::int64_t extent) noexcept {
  return extent > 1 ? 2 * position / static_cast<double>(extent - 1) - 1 : 0;
}

}  // namespace patchdiff
