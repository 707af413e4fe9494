// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>

namespace patchdiff {

/// Where one patch lies: the corner to cut at, and the map from its pixels to those of the full image.
///
/// A patch may reach over the border where the model pads its images; the corner may be negative then.
struct Place {
  std::int64_t top = 0;
  std::int64_t left = 0;
  PixelMap to_image{};

  /// The place of a plain crop.
  static Place at(std::int64_t top, std::int64_t left) noexcept {
    return {top, left, {.row_offset = static_cast<double>(top), .column_offset = static_cast<double>(left)}};
  }

  friend bool operator==(const Place&, const Place&) = default;
};

/// Equally large patches, one place per sample.
struct Places {
  ImageSize patch{};
  std::vector<Place> at{};

  std::int64_t count() const noexcept { return static_cast<std::int64_t>(at.size()); }

  /// The same place for each of `count` samples.
  static Places repeated(ImageSize patch, Place place, std::int64_t count) {
    return {patch, std::vector<Place>(static_cast<std::size_t>(count), place)};
  }

  /// The whole image for each of `count` samples.
  static Places whole(ImageSize image, std::int64_t count) { return repeated(image, Place::at(0, 0), count); }

  friend bool operator==(const Places&, const Places&) = default;
};

}  // namespace patchdiff
