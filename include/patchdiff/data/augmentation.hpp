// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/random_stream.hpp>

namespace patchdiff {

/// How often and how far images are changed.
struct AugmentationOptions {
  bool x_flip = false;     ///< whether half of the images are mirrored, left to right
  double probability = 0;  ///< of each other group of changes, in [0, 1]; EDM publishes 0.12

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("x_flip", self.x_flip, "mirror half of the images, left to right");
    visit("probability", self.probability,
          "of each of scaling, rotation, stretching and translation; y-flips half of it");
  }
};

/// How one image is changed.
struct AugmentationDraw {
  /// From a pixel of the changed image to the one that it shows; outside of the image it is mirrored.
  PixelMap to_image{};
  /// x-flip, y-flip, log2 of the scale / 0.2, cos - 1 and sin of the rotation, the stretch's two parts, the
  /// translation's two parts; zeros where nothing is drawn.
  std::array<float, 9> labels{};
};

/// Draws geometric changes of images that do not leak into samples: the network is told what was done.
///
/// Flips, then scaling, rotation, stretching along an axis, translation, all about the image's middle. The coordinates
/// of patches tell of them through `AugmentationDraw::to_image`, hence a flip alone needs no label; with the other
/// groups the network is given nine, and zeros when it samples. Angles are counter-clockwise as seen. As published, the
/// labels of a stretch do not tell its sign; the coordinates do.
/// Draws: uniform numbers 0 to 8 and normal numbers 20 to 23 (`Purpose::augmentation`, step = position).
/// Source: EDM (arXiv 2206.00364), appendix F.2, after Karras et al. (arXiv 2006.06676), appendix B.
class Augmentation {
 public:
  /// Errors: ConfigError for a probability outside of [0, 1].
  explicit Augmentation(AugmentationOptions options = {}) : options_(options) {
    require<ConfigError>(options.probability >= 0 && options.probability <= 1, "Augmentation", "probability",
                         "a value in [0, 1]", options.probability);
  }

  /// Whether any image is changed.
  bool active() const noexcept { return options_.x_flip || options_.probability > 0; }

  /// The width of the labels that a network needs: 9, or 0 where there is nothing but flips left to right.
  std::int64_t label_dim() const noexcept { return options_.probability > 0 ? 9 : 0; }

  /// The change of the image at a position of the run, counted over all epochs.
  AugmentationDraw draw(RandomKey key, std::uint64_t position, ImageSize image) const {
    if (!active()) return {};
    const RandomStream stream(key, Purpose::augmentation, position, 0);
    const double p = options_.probability;
    const auto angle = [&](std::uint64_t index) { return (2 * stream.uniform(index) - 1) * std::numbers::pi; };
    std::array<double, 4> normal{};
    stream.normals(std::span<double>(normal), 20);

    const bool x_flip = options_.x_flip && stream.uniform(0) < 0.5;
    const bool y_flip = stream.uniform(1) < p / 2;
    const double scale = stream.uniform(2) < p ? normal[0] : 0;
    const double rotation = stream.uniform(3) < p ? angle(4) : 0;
    const bool stretches = stream.uniform(5) < p;
    const double stretch = stretches ? normal[1] : 0;
    const double stretch_axis = stretches && stream.uniform(6) < 0.5 ? angle(7) : 0;
    const bool translated = stream.uniform(8) < p;
    const double right = translated ? normal[2] : 0, down = translated ? normal[3] : 0;

    const double grown = std::exp2(0.2 * scale), stretched = std::exp2(0.2 * stretch);
    const PixelMap about_middle = scaled(x_flip ? -1 : 1, y_flip ? -1 : 1)
                                      .after(scaled(1 / grown, 1 / grown))
                                      .after(turned(rotation))
                                      .after(turned(-stretch_axis))
                                      .after(scaled(1 / stretched, stretched))
                                      .after(turned(stretch_axis))
                                      .after(moved(-0.125 * right * static_cast<double>(image.width),
                                                   -0.125 * down * static_cast<double>(image.height)));
    const double middle_x = static_cast<double>(image.width - 1) / 2;
    const double middle_y = static_cast<double>(image.height - 1) / 2;
    const auto label = [](double value) { return static_cast<float>(value); };
    return {.to_image = moved(middle_x, middle_y).after(about_middle).after(moved(-middle_x, -middle_y)),
            .labels = {label(x_flip), label(y_flip), label(scale), label(std::cos(rotation) - 1),
                       label(std::sin(rotation)), label(stretch * std::cos(stretch_axis)),
                       label(stretch * std::sin(stretch_axis)), label(right), label(down)}};
  }

 private:
  static PixelMap scaled(double x, double y) noexcept { return {.row_from_row = y, .column_from_column = x}; }

  static PixelMap moved(double x, double y) noexcept { return {.row_offset = y, .column_offset = x}; }

  /// Looks up pixels clockwise, so that the image turns counter-clockwise.
  static PixelMap turned(double angle) noexcept {
    const double c = std::cos(angle), s = std::sin(angle);
    return {.row_from_row = c, .row_from_column = s, .column_from_row = -s, .column_from_column = c};
  }

  AugmentationOptions options_;
};

}  // namespace patchdiff
