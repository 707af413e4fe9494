// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Height and width in pixels.
struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;

  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

/// Channels, height and width of one image.
struct ImageShape {
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;

  ImageSize size() const noexcept { return {height, width}; }

  friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

/// height * width.
inline std::int64_t pixel_count(ImageSize size) noexcept { return size.height * size.width; }

/// The number of values of one image, over all channels.
inline std::int64_t value_count(ImageShape shape) noexcept { return shape.channels * pixel_count(shape.size()); }

/// Whether an image of size `inner` fits into one of size `outer`.
inline bool fits(ImageSize inner, ImageSize outer) noexcept {
  return inner.height <= outer.height && inner.width <= outer.width;
}

/// Writes a size as `32x64` (height first).
inline std::string to_string(ImageSize size) { return str(size.height, 'x', size.width); }

/// Writes an image's shape as `3x32x64` (channels, height, width).
inline std::string to_string(ImageShape shape) { return str(shape.channels, 'x', shape.height, 'x', shape.width); }

}  // namespace patchdiff
