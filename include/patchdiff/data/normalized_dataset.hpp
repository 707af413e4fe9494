// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/normalization.hpp>

namespace patchdiff {

/// A data set's images with mean 0 and deviation 1 by channel; labels and parts are those of the data set.
///
/// The values are not within [-1, 1]. The data set must outlive it.
template <Dataset Source>
class NormalizedDataset {
 public:
  /// Errors: ConfigError as of `Normalization::require_channels`.
  NormalizedDataset(const Source& source, Normalization normalization)
      : source_(&source), normalization_(std::move(normalization)) {
    normalization_.require_channels(static_cast<std::size_t>(source.shape().channels));
  }

  std::int64_t size() const { return source_->size(); }
  ImageShape shape() const { return source_->shape(); }
  bool has_regions() const requires RegionDataset<Source> { return patchdiff::has_regions(*source_); }
  const Normalization& normalization() const noexcept { return normalization_; }

  std::int64_t class_count() const requires LabelledDataset<Source> { return source_->class_count(); }
  std::int64_t label(std::int64_t index) const requires LabelledDataset<Source> { return source_->label(index); }

  /// Writes an image as [C, H, W] floats. Errors: what the data set throws.
  void read(std::int64_t index, std::span<float> out) const {
    source_->read(index, out);
    const std::size_t plane = out.size() / normalization_.mean.size();
    for (std::size_t channel = 0; channel < normalization_.mean.size(); ++channel) {
      normalization_.apply(out.subspan(channel * plane, plane), channel);
    }
  }

  /// Writes a patch as [C, h, w] floats, with zeros where it lies outside. Errors: what the data set throws.
  void read_patch(std::int64_t index, const Place& place, ImageSize patch,
                  std::span<float> out) const requires RegionDataset<Source> {
    source_->read_patch(index, place, patch, out);
    const auto [height, width] = shape().size();
    const std::int64_t first = std::clamp<std::int64_t>(-place.left, 0, patch.width);
    const std::int64_t last = std::clamp<std::int64_t>(width - place.left, first, patch.width);
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(normalization_.mean.size()) * patch.height; ++row) {
      const std::int64_t image_row = place.top + row % patch.height;
      if (image_row < 0 || image_row >= height) continue;
      normalization_.apply(
          out.subspan(static_cast<std::size_t>(row * patch.width + first), static_cast<std::size_t>(last - first)),
          static_cast<std::size_t>(row / patch.height));
    }
  }

 private:
  const Source* source_;
  Normalization normalization_;
};

}  // namespace patchdiff
