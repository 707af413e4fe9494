// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// How many times more images a step takes when its patches are smaller than the full image.
class MultiplierRule {
 public:
  /// A rule of the host's own: `(image, patch) -> multiplier`, at least 1.
  MultiplierRule(std::string name, std::function<std::int64_t(ImageSize, ImageSize)> rule)
      : name_(std::move(name)), rule_(std::move(rule)) {}

  /// The published table: batch factors {512: 1, 256: 2, 128: 4, 64: 16, 32: 32, 16: 64}, relative to the full image.
  ///
  /// A side that is not in the table takes the ratio of the sides. A rectangle counts by its longer side.
  /// Source: Patch Diffusion (arXiv 2304.12526), section 3.2 and its published settings.
  static MultiplierRule published() { return {"published", &published_multiplier}; }

  /// As many images as keep the number of pixels per step: (H W) / (h w), rounded down.
  static MultiplierRule equal_pixels() {
    return {"equal_pixels", [](ImageSize image, ImageSize patch) {
              return std::max<std::int64_t>(1, pixel_count(image) / pixel_count(patch));
            }};
  }

  /// The same number of images at every size.
  static MultiplierRule constant(std::int64_t multiplier) {
    require<ConfigError>(multiplier >= 1, "MultiplierRule", "multiplier", "at least 1", multiplier);
    return {"constant", [multiplier](ImageSize, ImageSize) { return multiplier; }};
  }

  std::int64_t operator()(ImageSize image, ImageSize patch) const { return rule_(image, patch); }

  const std::string& name() const noexcept { return name_; }

 private:
  static std::int64_t published_factor(std::int64_t side) noexcept {
    switch (side) {
      case 512: return 1;
      case 256: return 2;
      case 128: return 4;
      case 64: return 16;
      case 32: return 32;
      case 16: return 64;
      default: return 0;
    }
  }

  static std::int64_t published_multiplier(ImageSize image, ImageSize patch) {
    const bool by_height = image.height >= image.width;
    const std::int64_t full = by_height ? image.height : image.width;
    const std::int64_t side = by_height ? patch.height : patch.width;
    const std::int64_t full_factor = published_factor(full);
    const std::int64_t side_factor = published_factor(side);
    const std::int64_t ratio = full_factor > 0 && side_factor > 0 ? side_factor / full_factor : full / side;
    return std::max<std::int64_t>(1, ratio);
  }

  std::string name_;
  std::function<std::int64_t(ImageSize, ImageSize)> rule_;
};

}  // namespace patchdiff
