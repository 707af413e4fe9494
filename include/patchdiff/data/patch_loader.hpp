// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/augmentation.hpp>
#include <patchdiff/data/batch_labels.hpp>
#include <patchdiff/data/data_order.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/warp.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/patch/patch_sampler.hpp>

namespace patchdiff {

/// What a PatchLoader does to images.
struct PatchLoaderOptions {
  std::uint64_t seed = 0;              ///< key of the data order and of augmentation; give it the run's seed
  std::int64_t padding = 0;            ///< as of the model's CoordOptions
  AugmentationOptions augmentation{};  ///< as of Loader
};

/// Hands a step its patches where images are too large to read whole: the same patches as Loader and PatchSampler cut.
///
/// Of an augmented image only the part that the patch is made of is read. The data set must outlive the loader.
template <Backend B, RegionDataset Source>
class PatchLoader {
 public:
  /// Errors: ConfigError for a negative padding, and a source without images.
  PatchLoader(const Source& source, typename B::Device device, PatchLoaderOptions options = {})
      : source_(&source),
        device_(device),
        key_{options.seed},
        sampler_(options.padding),
        augmentation_(options.augmentation),
        order_(key_, static_cast<std::uint64_t>(source.size())) {
    require<ConfigError>(source.size() >= 1, "PatchLoader", "source", "at least one image", "none");
  }

  /// The plan's patches, one from each of its images, with one-hot labels where the data set has them.
  ///
  /// Errors: ShapeError for patches larger than the images; DataError for values that are not finite.
  PatchBatch<B> take(const PatchPlan& plan) const { return take(plan, 0, plan.images); }

  /// A part of them, from the plan's sample `first_sample` on.
  PatchBatch<B> take(const PatchPlan& plan, std::uint64_t first_sample, std::int64_t count) const {
    const ImageShape image = source_->shape();
    Places places = sampler_.places(plan, image.size(), count, first_sample);
    const auto values = static_cast<std::size_t>(image.channels * pixel_count(plan.patch));
    std::vector<float> patches(static_cast<std::size_t>(count) * values);
    BatchLabels labels;
    for (std::size_t sample = 0; sample < places.at.size(); ++sample) {
      const std::uint64_t position = plan.first_image + first_sample + sample;
      const auto index = static_cast<std::int64_t>(order_(position));
      const AugmentationDraw drawn = augmentation_.draw(key_, position, image.size());
      read(index, drawn.to_image, plan.patch, places.at[sample], std::span(patches).subspan(sample * values, values));
      labels.add(class_of(*source_, index), drawn);
    }
    PatchBatch<B> batch{.images = B::from_host(std::span<const float>(patches),
                                               {count, image.channels, plan.patch.height, plan.patch.width}, device_),
                        .places = std::move(places),
                        .first_sample = first_sample};
    labels.write<B>(batch, *source_, augmentation_, device_);
    return batch;
  }

 private:
  /// Reads the patch at `place` of the image that `map` makes, and notes in the place where its pixels come from.
  void read(std::int64_t index, const PixelMap& map, ImageSize patch, Place& place, std::span<float> out) const {
    if (map == PixelMap{}) {
      source_->read_patch(index, place, patch, out);
      return require_finite("PatchLoader", out, index);
    }
    const ImageShape image = source_->shape();
    place.to_image = map.after(place.to_image);
    const Warp warp(image.size(), place.to_image, patch);
    const ImagePart& part = warp.reads();
    std::vector<float> stored(static_cast<std::size_t>(image.channels * pixel_count(part.size)));
    source_->read_patch(index, part.place, part.size, stored);
    require_finite("PatchLoader", stored, index);
    warp(stored, part, out);
    clear_frame(place, patch, image, out);
  }

  /// Sets what of a patch lies in the frame around the image to zero.
  static void clear_frame(const Place& place, ImageSize patch, ImageShape image, std::span<float> out) {
    auto pixel = out.begin();
    for (std::int64_t line = 0; line < image.channels * patch.height; ++line) {
      const std::int64_t row = place.top + line % patch.height;
      for (std::int64_t column = place.left; column < place.left + patch.width; ++column, ++pixel) {
        if (row < 0 || row >= image.height || column < 0 || column >= image.width) *pixel = 0;
      }
    }
  }

  const Source* source_;
  typename B::Device device_;
  RandomKey key_;
  PatchSampler<B> sampler_;
  Augmentation augmentation_;
  DataOrder order_;
};

}  // namespace patchdiff
