// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>

namespace patchdiff {

/// Writes where each pixel of a patch lies in the full image as two channels.
///
/// Shapes: [N, 2, h, w], channel 0 is x (column), channel 1 is y (row).
/// Units: x = 2 column / (W - 1) - 1 and y = 2 row / (H - 1) - 1, so -1 and 1 are hit exactly at the outer pixels of
/// the full image; along an axis of one pixel the coordinate is 0.
/// Source: Patch Diffusion (arXiv 2304.12526), section 3.3.
template <Backend B>
class CoordEncoder {
 public:
  explicit CoordEncoder(ImageSize image) : image_(image) {
    if (image.height < 1 || image.width < 1) {
      throw ConfigError("CoordEncoder", "image", "at least one pixel", to_string(image));
    }
  }

  typename B::Tensor operator()(const Places& places, typename B::Device device) const {
    return B::coordinate_grid(places, image_, device);
  }

  std::int64_t channels() const noexcept { return 2; }

  ImageSize image() const noexcept { return image_; }

 private:
  ImageSize image_;
};

}  // namespace patchdiff
