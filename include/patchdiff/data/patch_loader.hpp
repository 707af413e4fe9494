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
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/data_order.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/patch/patch_sampler.hpp>

namespace patchdiff {

struct PatchLoaderOptions {
  std::uint64_t seed = 0;    ///< key of the data order; give it the run's seed
  std::int64_t padding = 0;  ///< as of the model's CoordOptions
};

/// Hands a step its patches where images are too large to read whole: the same patches as Loader and PatchSampler cut.
///
/// The data set must outlive the loader.
template <Backend B, RegionDataset Source>
class PatchLoader {
 public:
  /// Errors: ConfigError for a negative padding, and a source without images.
  PatchLoader(const Source& source, typename B::Device device, PatchLoaderOptions options = {})
      : source_(&source),
        device_(device),
        sampler_(options.padding),
        order_({options.seed}, static_cast<std::uint64_t>(source.size())) {
    if (source.size() < 1) throw ConfigError("PatchLoader", "source", "at least one image", "none");
  }

  /// The plan's patches, one from each of its images.
  ///
  /// Errors: ShapeError for patches larger than the images; DataError for values that are not finite.
  PatchBatch<B> take(const PatchPlan& plan) const { return take(plan, 0, plan.images); }

  /// A part of them, from the plan's sample `first_sample` on.
  PatchBatch<B> take(const PatchPlan& plan, std::uint64_t first_sample, std::int64_t count) const {
    const ImageShape image = source_->shape();
    Places places = sampler_.places(plan, image.size(), count, first_sample);
    const auto values = static_cast<std::size_t>(image.channels * pixel_count(plan.patch));
    std::vector<float> patches(static_cast<std::size_t>(count) * values);
    for (std::size_t sample = 0; sample < places.at.size(); ++sample) {
      const auto index = static_cast<std::int64_t>(order_(plan.first_image + first_sample + sample));
      const std::span<float> patch = std::span(patches).subspan(sample * values, values);
      source_->read_patch(index, places.at[sample], plan.patch, patch);
      require_finite("PatchLoader", patch, index);
    }
    return {.images = B::from_host(std::span<const float>(patches),
                                   {count, image.channels, plan.patch.height, plan.patch.width}, device_),
            .places = std::move(places),
            .first_sample = first_sample};
  }

 private:
  const Source* source_;
  typename B::Device device_;
  PatchSampler<B> sampler_;
  DataOrder order_;
};

}  // namespace patchdiff
