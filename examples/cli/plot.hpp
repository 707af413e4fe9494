// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/io/picture.hpp>

/// A white picture to draw on, with pixels (x, y) from the top left corner; what lies outside is not drawn.
class Plot {
 public:
  using Colour = std::array<std::uint8_t, 3>;
  static constexpr std::int64_t letter_width = 6, letter_height = 7;

  explicit Plot(patchdiff::ImageSize size) : picture_{{3, size.height, size.width}, {}} {
    picture_.pixels.assign(static_cast<std::size_t>(3 * pixel_count(size)), 255);
  }

  void dot(std::int64_t x, std::int64_t y, Colour colour);

  /// A straight line between two pixels.
  void line(std::int64_t x0, std::int64_t y0, std::int64_t x1, std::int64_t y1, Colour colour);

  /// Digits and the letters of the axes' names, from the upper left corner on; others stay empty.
  void text(std::int64_t x, std::int64_t y, std::string_view letters, Colour colour);

  const patchdiff::Picture& picture() const noexcept { return picture_; }

 private:
  patchdiff::Picture picture_;
};
