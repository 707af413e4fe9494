// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// Draws where patches lie and cuts them out.
///
/// With padding, images stand in a frame of zeros, and patches may reach into it.
/// Source: Patch Diffusion (arXiv 2304.12526), section 3.1.
template <Backend B>
class PatchSampler {
 public:
  /// `padding` is the width of the frame in pixels. Errors: ConfigError for a negative one.
  explicit PatchSampler(std::int64_t padding = 0) : padding_(padding) {
    require<ConfigError>(padding >= 0, "PatchSampler", "padding", "at least 0", padding);
  }

  /// One corner per sample, uniform over every position at which the patch fits into the image and its frame.
  ///
  /// Draws: two integers per sample (`Purpose::place`).
  /// Errors: ShapeError for a patch that is larger, or without pixels.
  Places places(const PatchPlan& plan, ImageSize image, std::int64_t count, std::uint64_t first_sample = 0) const {
    check_fits(plan.patch, image);
    const ImageSize framed = with_frame(image);
    Places drawn{plan.patch, {}};
    drawn.at.reserve(static_cast<std::size_t>(count));
    for (std::int64_t sample = 0; sample < count; ++sample) {
      const RandomStream stream = plan.stream(Purpose::place, first_sample + static_cast<std::uint64_t>(sample));
      drawn.at.push_back(Place::at(corner(stream, framed.height - plan.patch.height, 0) - padding_,
                                   corner(stream, framed.width - plan.patch.width, 1) - padding_));
    }
    return drawn;
  }

  /// Cuts one patch per sample from the images, the mask and the fields.
  ///
  /// Places lie in the images as they stand; those of the result tell, by the batch's maps, where their pixels come
  /// from. Errors: ShapeError for tensors of another rank or batch, or for a place outside of image and frame.
  PatchBatch<B> operator()(const ImageBatch<B>& batch, const Places& places) const {
    const ImageSize image = image_size(B::shape(batch.images), "images", places);
    check_inside(places, image);
    if (!batch.maps.empty() && batch.maps.size() != places.at.size()) {
      refuse<ShapeError>("PatchSampler", "maps", str(places.count(), " maps, one per place"), str(batch.maps.size()));
    }
    const auto cut = [&](const std::optional<typename B::Tensor>& tensor,
                         std::string_view name) -> std::optional<typename B::Tensor> {
      if (!tensor) return std::nullopt;
      if (image_size(B::shape(*tensor), name, places) != image) {
        refuse<ShapeError>("PatchSampler", name, str("images of ", to_string(image)), to_string(B::shape(*tensor)));
      }
      return B::crop(*tensor, places);
    };
    return {.images = B::crop(batch.images, places),
            .mask = cut(batch.mask, "mask"),
            .fields = cut(batch.fields, "fields"),
            .places = told(places, batch.maps),
            .class_labels = batch.class_labels,
            .augment_labels = batch.augment_labels,
            .first_sample = batch.first_sample};
  }

 private:
  /// The places with the coordinates that they have in the images before augmentation.
  static Places told(Places places, const std::vector<PixelMap>& maps) {
    for (std::size_t sample = 0; sample < maps.size(); ++sample) {
      places.at[sample].to_image = maps[sample].after(places.at[sample].to_image);
    }
    return places;
  }

  static std::int64_t corner(const RandomStream& stream, std::int64_t largest, std::uint64_t axis) noexcept {
    return static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(largest) + 1, axis));
  }

  ImageSize with_frame(ImageSize image) const noexcept {
    return {image.height + 2 * padding_, image.width + 2 * padding_};
  }

  void check_fits(ImageSize patch, ImageSize image) const {
    if (patch.height < 1 || patch.width < 1) {
      refuse<ShapeError>("PatchSampler", "patch", "at least one pixel", to_string(patch));
    }
    if (!fits(patch, with_frame(image))) {
      refuse<ShapeError>("PatchSampler", "patch", str("at most ", to_string(with_frame(image))), to_string(patch));
    }
  }

  static ImageSize image_size(const Shape& shape, std::string_view name, const Places& places) {
    if (shape.size() != 4) refuse<ShapeError>("PatchSampler", name, "rank 4, [N, C, H, W]", to_string(shape));
    if (shape[0] != places.count()) {
      refuse<ShapeError>("PatchSampler", name, str(places.count(), " samples, one per place"), to_string(shape));
    }
    return {shape[2], shape[3]};
  }

  void check_inside(const Places& places, ImageSize image) const {
    check_fits(places.patch, image);
    for (const Place& place : places.at) {
      if (place.top < -padding_ || place.left < -padding_ ||
          place.top > image.height + padding_ - places.patch.height ||
          place.left > image.width + padding_ - places.patch.width) {
        refuse<ShapeError>("PatchSampler", "places",
                           str("patches of ", to_string(places.patch), " inside ", to_string(image),
                               padding_ > 0 ? str(" padded by ", padding_) : ""),
                           str("top ", place.top, ", left ", place.left));
      }
    }
  }

  std::int64_t padding_;
};

}  // namespace patchdiff
