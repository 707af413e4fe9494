// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/sampling/window_axis.hpp>

namespace patchdiff {

/// The windows that cover an image at one noise level, numbered row by row.
struct WindowGrid {
  WindowAxis rows;
  WindowAxis columns;

  std::int64_t count() const noexcept { return static_cast<std::int64_t>(rows.count() * columns.count()); }
  ImageSize window() const noexcept { return {rows.length(), columns.length()}; }
  ImageSize image() const noexcept { return {rows.extent(), columns.extent()}; }

  Place place(std::int64_t window) const {
    const auto index = static_cast<std::size_t>(window);
    return Place::at(rows.first(index / columns.count()), columns.first(index % columns.count()));
  }

  /// Writes the share that each pixel of a window has in the fused image, [h, w].
  void write_shares(std::int64_t window, std::span<double> out) const {
    const auto index = static_cast<std::size_t>(window);
    double* to = out.data();
    for (const double of_row : rows.shares(index / columns.count())) {
      for (const double of_column : columns.shares(index % columns.count())) {
        *to++ = of_row * of_column;
      }
    }
  }
};

}  // namespace patchdiff
