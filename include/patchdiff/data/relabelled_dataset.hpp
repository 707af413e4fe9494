// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/dataset.hpp>

namespace patchdiff {

/// The images of one data set with the labels of another, image by image: for example latents, and what they are of.
///
/// Both must outlive it.
template <Dataset Images, LabelledDataset Labels>
class RelabelledDataset {
 public:
  /// Errors: DataError for data sets of different sizes.
  RelabelledDataset(const Images& images, const Labels& labels) : images_(&images), labels_(&labels) {
    if (images.size() != labels.size()) {
      refuse<DataError>("RelabelledDataset", "labels", str(images.size(), " labels"), str(labels.size()));
    }
  }

  std::int64_t size() const { return images_->size(); }
  ImageShape shape() const { return images_->shape(); }
  bool has_regions() const requires RegionDataset<Images> { return patchdiff::has_regions(*images_); }
  std::int64_t class_count() const { return labels_->class_count(); }
  std::int64_t label(std::int64_t index) const { return labels_->label(index); }

  /// Writes an image as [C, H, W] floats. Errors: what the data set throws.
  void read(std::int64_t index, std::span<float> out) const { images_->read(index, out); }

  /// Writes a patch as [C, h, w] floats, with zeros where it lies outside. Errors: what the data set throws.
  void read_patch(std::int64_t index, const Place& place, ImageSize patch,
                  std::span<float> out) const requires RegionDataset<Images> {
    images_->read_patch(index, place, patch, out);
  }

 private:
  const Images* images_;
  const Labels* labels_;
};

}  // namespace patchdiff
