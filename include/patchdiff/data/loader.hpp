// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
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
#include <patchdiff/data/prefetcher.hpp>
#include <patchdiff/data/warp.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// Threads and memory of a Loader.
struct LoaderOptions {
  std::uint64_t seed = 0;              ///< key of the data order and of augmentation; give it the run's seed
  std::int64_t workers = 1;            ///< threads that decode and augment, at least 1
  std::int64_t prefetch = 0;           ///< images that are ready ahead; 0: as many as 256 MiB hold, at most 4096
  AugmentationOptions augmentation{};  ///< changes to each image, drawn anew in each epoch
};

/// Hands a step its images, decoded and augmented ahead by threads of its own.
///
/// The order is a keyed permutation per epoch (see DataOrder), a function of the position alone, so the cursor is
/// `TrainState::images`. No image repeats within an epoch. Augmented images come with the maps of their coordinates
/// and, where Augmentation has some, labels. What is handed out does not depend on the number of workers. The data set
/// must outlive the loader; the threads end with it.
/// Errors: DataError for an image that is not finite; what the data set throws, from `take`. It may be repeated: the
/// images are then read again.
template <Backend B, Dataset Source>
class Loader {
 public:
  /// Errors: ConfigError for settings that cannot work, and a source without images.
  Loader(const Source& source, typename B::Device device, LoaderOptions options = {})
      : source_(&source),
        device_(device),
        key_{options.seed},
        augmentation_(options.augmentation),
        order_(key_, static_cast<std::uint64_t>(source.size())),
        decoded_([this](std::uint64_t position) { return decode(position); }, bounds(source, options)) {}

  /// The plan's images, with one-hot labels where the data set has them. Waits for the threads where they are behind.
  ImageBatch<B> take(const PatchPlan& plan) { return take(plan, 0, plan.images); }

  /// A part of them, from the plan's sample `first_sample` on.
  ImageBatch<B> take(const PatchPlan& plan, std::uint64_t first_sample, std::int64_t count) {
    const ImageShape shape = source_->shape();
    const auto values = static_cast<std::size_t>(value_count(shape));
    std::vector<float> images(static_cast<std::size_t>(count) * values);
    BatchLabels labels;
    std::vector<PixelMap> maps;
    decoded_.seek(plan.first_image + first_sample);
    for (auto out = images.begin(); out != images.end();) {
      const Decoded image = decoded_.next();
      out = std::copy(image.values.begin(), image.values.end(), out);
      labels.add(image.label, image.drawn);
      if (augmentation_.active()) maps.push_back(image.drawn.to_image);
    }
    ImageBatch<B> batch{.images = B::from_host(std::span<const float>(images),
                                               {count, shape.channels, shape.height, shape.width}, device_),
                        .maps = std::move(maps),
                        .first_sample = first_sample};
    labels.write<B>(batch, *source_, augmentation_, device_);
    return batch;
  }

 private:
  struct Decoded {
    std::vector<float> values{};
    std::int64_t label = 0;
    AugmentationDraw drawn{};
  };

  static PrefetchBounds bounds(const Source& source, const LoaderOptions& options) {
    require<ConfigError>(source.size() >= 1, "Loader", "source", "at least one image", "none");
    require<ConfigError>(options.workers >= 1, "Loader", "workers", "at least 1", options.workers);
    require<ConfigError>(options.prefetch >= 0, "Loader", "prefetch", "at least 0", options.prefetch);
    constexpr std::size_t bytes = std::size_t{256} << 20;
    const auto values = static_cast<std::size_t>(std::max<std::int64_t>(1, value_count(source.shape())));
    const std::size_t fitting = bytes / (sizeof(float) * values);
    return {.ahead = options.prefetch > 0 ? static_cast<std::size_t>(options.prefetch)
                                          : std::clamp<std::size_t>(fitting, 1, 4096),
            .workers = static_cast<std::size_t>(options.workers)};
  }

  Decoded decode(std::uint64_t position) const {
    const auto index = static_cast<std::int64_t>(order_(position));
    const ImageShape shape = source_->shape();
    Decoded image{.values = std::vector<float>(static_cast<std::size_t>(value_count(shape)))};
    source_->read(index, image.values);
    require_finite("Loader", image.values, index);
    image.label = class_of(*source_, index);
    augment(image, position);
    return image;
  }

  void augment(Decoded& image, std::uint64_t position) const {
    const ImageSize size = source_->shape().size();
    image.drawn = augmentation_.draw(key_, position, size);
    if (image.drawn.to_image == PixelMap{}) return;
    const std::vector<float> stored = std::exchange(image.values, std::vector<float>(image.values.size()));
    Warp(size, image.drawn.to_image, size)(stored, {Place::at(0, 0), size}, image.values);
  }

  const Source* source_;
  typename B::Device device_;
  RandomKey key_;
  Augmentation augmentation_;
  DataOrder order_;
  Prefetcher<Decoded> decoded_;  ///< the last member: its threads read the others
};

}  // namespace patchdiff
