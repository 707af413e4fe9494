// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/picture.hpp>

namespace patchdiff {

/// How images are laid out on one picture.
struct ImageGridOptions {
  /// Images side by side, 1 to 65536; fewer images than that make one shorter row.
  std::int64_t columns = 8;
  /// White pixels around each image, 0 to 65536; the margins of neighbours coincide.
  std::int64_t margin = 2;
  /// Pixels of the picture per pixel of an image, in each direction, 1 to 1024.
  std::int64_t scale = 1;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("columns", self.columns, "images side by side");
    visit("margin", self.margin, "pixels between images");
    visit("scale", self.scale, "enlargement of each image");
  }
};

/// Lays images out on one picture, row by row, and rounds them to 8 bits.
class ImageGrid {
 public:
  /// Errors: ConfigError for options outside of their range.
  explicit ImageGrid(ImageGridOptions options = {}) : options_(options) {
    require_within("columns", options.columns, 1, 65536);
    require_within("margin", options.margin, 0, 65536);
    require_within("scale", options.scale, 1, 1024);
  }

  /// The picture of all images.
  ///
  /// Shapes: images [N, C, H, W] with C 1 or 3, none of them 0.
  /// Units: -1 is black and 1 is white; values beyond are clamped.
  /// Errors: ShapeError for another shape; DataError for NaN.
  Picture operator()(std::span<const float> images, const Shape& shape) const { return compose(images, shape); }
  Picture operator()(std::span<const double> images, const Shape& shape) const { return compose(images, shape); }

 private:
  static void require_within(std::string_view name, std::int64_t value, std::int64_t minimum, std::int64_t maximum) {
    if (value >= minimum && value <= maximum) return;
    refuse<ConfigError>("ImageGrid", name, str(minimum, " to ", maximum), str(value));
  }

  template <class Scalar>
  static void require_images(std::span<const Scalar> images, const Shape& shape) {
    const bool sound =
        shape.size() == 4 && (shape[1] == 1 || shape[1] == 3) && *std::min_element(shape.begin(), shape.end()) > 0;
    if (!sound) refuse<ShapeError>("ImageGrid", "shape", "[N, C, H, W] with C 1 or 3", to_string(shape));
    if (static_cast<std::int64_t>(images.size()) != element_count(shape)) {
      refuse<ShapeError>("ImageGrid", "images", str(element_count(shape), " values"), str(images.size()));
    }
    const auto nan = std::find_if(images.begin(), images.end(), [](Scalar value) { return std::isnan(value); });
    if (nan != images.end()) {
      refuse<DataError>("ImageGrid", "images", "numbers", str("NaN at index ", nan - images.begin()));
    }
  }

  template <class Scalar>
  Picture compose(std::span<const Scalar> images, const Shape& shape) const {
    require_images(images, shape);
    const ImageShape image{shape[1], shape[2], shape[3]};
    const std::int64_t margin = options_.margin;
    const std::int64_t columns = std::min(options_.columns, shape[0]);
    const std::int64_t rows = (shape[0] + columns - 1) / columns;
    const ImageSize step{image.height * options_.scale + margin, image.width * options_.scale + margin};

    Picture picture{.shape = {image.channels, rows * step.height + margin, columns * step.width + margin},
                    .pixels = {}};
    picture.pixels.resize(static_cast<std::size_t>(value_count(picture.shape)), 255);
    const auto values = static_cast<std::size_t>(value_count(image));
    for (std::int64_t index = 0; index < shape[0]; ++index) {
      const ImageSize corner{margin + index / columns * step.height, margin + index % columns * step.width};
      paint(images.subspan(static_cast<std::size_t>(index) * values, values), image, corner, picture);
    }
    return picture;
  }

  template <class Scalar>
  void paint(std::span<const Scalar> values, ImageShape image, ImageSize corner, Picture& picture) const {
    for (std::int64_t row = 0; row < image.height * options_.scale; ++row) {
      auto out = picture.pixels.begin() +
                 ((corner.height + row) * picture.shape.width + corner.width) * picture.shape.channels;
      for (std::int64_t column = 0; column < image.width * options_.scale; ++column) {
        const std::int64_t pixel = row / options_.scale * image.width + column / options_.scale;
        for (std::int64_t channel = 0; channel < image.channels; ++channel) {
          *out++ = to_byte(values[static_cast<std::size_t>(channel * pixel_count(image.size()) + pixel)]);
        }
      }
    }
  }

  /// The nearest of the values that `byte / 127.5 - 1` takes.
  static std::uint8_t to_byte(double value) noexcept {
    return static_cast<std::uint8_t>((std::clamp(value, -1.0, 1.0) + 1.0) * 127.5 + 0.5);
  }

  ImageGridOptions options_;
};

}  // namespace patchdiff
