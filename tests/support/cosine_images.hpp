// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>

namespace patchdiff {

/// The values that an image of CosineImages has at coordinates x and y, one per channel.
///
/// They are even about every border, so that an image which is mirrored there has them at any coordinates.
inline double cosine_value(std::int64_t channel, double x, double y) {
  const double across = std::cos(std::numbers::pi * (x + 1) / 2), down = std::cos(std::numbers::pi * (y + 1) / 2);
  return channel == 0 ? across : channel == 1 ? down : across * down;
}

/// A data set of equal images of three channels, whose values are known functions of their coordinates.
struct CosineImages {
  ImageSize image{48, 64};
  std::int64_t count = 5;

  std::int64_t size() const { return count; }
  ImageShape shape() const { return {3, image.height, image.width}; }
  void read(std::int64_t, std::span<float> out) const {
    std::size_t at = 0;
    for (std::int64_t channel = 0; channel < 3; ++channel) {
      for (std::int64_t row = 0; row < image.height; ++row) {
        for (std::int64_t column = 0; column < image.width; ++column) {
          out[at++] =
              static_cast<float>(cosine_value(channel, normalised_position(static_cast<double>(column), image.width),
                                              normalised_position(static_cast<double>(row), image.height)));
        }
      }
    }
  }

  std::vector<float> pixels() const {
    std::vector<float> values(static_cast<std::size_t>(3 * pixel_count(image)));
    read(0, values);
    return values;
  }
};

}  // namespace patchdiff
