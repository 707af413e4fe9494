// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>

namespace patchdiff {

/// How a model tells its network where a patch lies.
struct CoordOptions {
  std::int64_t padding = 0;  ///< zeros around the image in training, in pixels on every side; patches reach in
  std::int64_t fourier_frequencies = 0;  ///< sines and cosines at that many frequencies instead of x and y, 0: x and y
  bool fourier_octaves = true;           ///< frequencies 1, 2, 4, ... instead of evenly spaced ones up to the same last
  bool patch_size_channel = false;       ///< one more channel that holds the patch's share of the image's side

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("padding", self.padding, "zeros around the image in training, in pixels");
    visit("fourier_frequencies", self.fourier_frequencies, "frequencies of sines and cosines, 0: plain x and y");
    visit("fourier_octaves", self.fourier_octaves, "frequencies that double instead of even spacing");
    visit("patch_size_channel", self.patch_size_channel, "a channel with the patch's share of the image's side");
  }

  /// Errors: ConfigError for settings that cannot work.
  void check() const {
    require<ConfigError>(padding >= 0, "CoordEncoder", "padding", "at least 0", padding);
    require<ConfigError>(fourier_frequencies >= 0 && fourier_frequencies <= 32, "CoordEncoder", "fourier_frequencies",
                         "0 to 32", fourier_frequencies);
  }
};

/// Writes where each pixel of a patch lies in the full image as channels for the network.
///
/// Shapes: [N, channels(), h, w]; channel 0 is x (column), channel 1 is y (row). With Fourier features they become, for
/// each frequency f: sin(f x), sin(f y), cos(f x), cos(f y). The patch-size channel is the last.
/// Units: x = 2 column / (W - 1) - 1 and y = 2 row / (H - 1) - 1, so -1 and 1 are hit exactly at the outer pixels of
/// the full image, or of the padded image where the model pads; along an axis of one pixel the coordinate is 0. The
/// patch-size channel is 2 sqrt(h w / (H W)) - 1.
/// Source: Patch Diffusion (arXiv 2304.12526), section 3.3.
template <Backend B>
class CoordEncoder {
 public:
  using Tensor = typename B::Tensor;

  /// Errors: ConfigError for settings that cannot work.
  explicit CoordEncoder(ImageSize image, CoordOptions options = {}) : image_(image), options_(options) {
    if (image.height < 1 || image.width < 1) {
      refuse<ConfigError>("CoordEncoder", "image", "at least one pixel", to_string(image));
    }
    options_.check();
    const auto count = static_cast<double>(options_.fourier_frequencies);
    for (double k = 0; k < count; ++k) {
      const double evenly = count > 1 ? 1 + k / (count - 1) * (std::exp2(count - 1) - 1) : 1;
      frequencies_.push_back(options_.fourier_octaves ? std::exp2(k) : evenly);
    }
  }

  Tensor operator()(const Places& places, typename B::Device device) const {
    const Tensor encoded = features(positions(places, device));
    if (!options_.patch_size_channel) return encoded;
    return B::concat(std::array{encoded, patch_size(places, device)}, 1);
  }

  /// The position channels of coordinates x and y [N, 2, h, w]: themselves or their Fourier features.
  Tensor features(const Tensor& coordinates) const {
    return frequencies_.empty() ? coordinates : B::fourier_features(coordinates, frequencies_);
  }

  std::int64_t channels() const noexcept {
    const auto frequencies = static_cast<std::int64_t>(frequencies_.size());
    return (frequencies > 0 ? 4 * frequencies : 2) + (options_.patch_size_channel ? 1 : 0);
  }

  ImageSize image() const noexcept { return image_; }

 private:
  Tensor positions(const Places& places, typename B::Device device) const {
    if (options_.padding == 0) return B::coordinate_grid(places, image_, device);
    Places padded = places;
    for (Place& place : padded.at) {
      place.to_image.row_offset += static_cast<double>(options_.padding);
      place.to_image.column_offset += static_cast<double>(options_.padding);
    }
    return B::coordinate_grid(padded, {image_.height + 2 * options_.padding, image_.width + 2 * options_.padding},
                              device);
  }

  Tensor patch_size(const Places& places, typename B::Device device) const {
    const double share =
        std::sqrt(static_cast<double>(pixel_count(places.patch)) / static_cast<double>(pixel_count(image_)));
    const std::vector<float> values(static_cast<std::size_t>(places.count() * pixel_count(places.patch)),
                                    static_cast<float>(2 * share - 1));
    return B::from_host(std::span<const float>(values), {places.count(), 1, places.patch.height, places.patch.width},
                        device);
  }

  ImageSize image_;
  CoordOptions options_;
  std::vector<double> frequencies_;
};

}  // namespace patchdiff
