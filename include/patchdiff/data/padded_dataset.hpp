// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/dataset.hpp>

namespace patchdiff {

/// A data set's images on the middle of larger black ones, -1, an odd pixel more at the bottom and right.
///
/// Networks of several levels want sizes that they can halve. Labels and parts are those of the data set, which must
/// outlive it.
template <Dataset Source>
class PaddedDataset {
 public:
  /// Errors: ConfigError for a size smaller than that of the images.
  PaddedDataset(const Source& source, ImageSize size) : source_(&source), size_(size) {
    const ImageSize inner = source.shape().size();
    if (!fits(inner, size)) {
      refuse<ConfigError>("PaddedDataset", "size", str("at least ", to_string(inner)), to_string(size));
    }
    top_ = (size.height - inner.height) / 2;
    left_ = (size.width - inner.width) / 2;
  }

  std::int64_t size() const { return source_->size(); }
  ImageShape shape() const { return {source_->shape().channels, size_.height, size_.width}; }
  bool has_regions() const requires RegionDataset<Source> { return patchdiff::has_regions(*source_); }

  std::int64_t class_count() const requires LabelledDataset<Source> { return source_->class_count(); }
  std::int64_t label(std::int64_t index) const requires LabelledDataset<Source> { return source_->label(index); }

  /// Writes an image as [C, H, W] floats. Errors: ShapeError for an `out` of another size; what the data set throws.
  void read(std::int64_t index, std::span<float> out) const {
    if (static_cast<std::int64_t>(out.size()) != value_count(shape())) {
      refuse<ShapeError>("PaddedDataset", "out", str(value_count(shape()), " values"), str(out.size()));
    }
    const ImageShape inner = source_->shape();
    if (inner.size() == size_) return source_->read(index, out);
    std::vector<float> stored(static_cast<std::size_t>(value_count(inner)));
    source_->read(index, stored);
    std::fill(out.begin(), out.end(), -1.0F);
    for (std::int64_t row = 0; row < inner.channels * inner.height; ++row) {
      const std::int64_t line = row / inner.height * size_.height + top_ + row % inner.height;
      std::copy_n(stored.begin() + row * inner.width, inner.width, out.begin() + line * size_.width + left_);
    }
  }

  /// Writes a patch as [C, h, w] floats, with zeros where it lies outside. Errors: what the data set throws.
  void read_patch(std::int64_t index, const Place& place, ImageSize patch,
                  std::span<float> out) const requires RegionDataset<Source> {
    const ImageShape inner = source_->shape();
    source_->read_patch(index, Place::at(place.top - top_, place.left - left_), patch, out);
    if (inner.size() == size_) return;
    const auto within = [](std::int64_t at, std::int64_t first, std::int64_t count) {
      return at >= first && at < first + count;
    };
    auto pixel = out.begin();
    for (std::int64_t line = 0; line < inner.channels * patch.height; ++line) {
      const std::int64_t row = place.top + line % patch.height;
      for (std::int64_t column = place.left; column < place.left + patch.width; ++column, ++pixel) {
        const bool on_image = within(row, top_, inner.height) && within(column, left_, inner.width);
        if (!on_image && within(row, 0, size_.height) && within(column, 0, size_.width)) *pixel = -1;
      }
    }
  }

 private:
  const Source* source_;
  ImageSize size_;
  std::int64_t top_ = 0;
  std::int64_t left_ = 0;
};

}  // namespace patchdiff
