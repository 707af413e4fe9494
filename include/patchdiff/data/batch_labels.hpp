// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/data/augmentation.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// The class of an image; 0 where the data set has no labels.
template <Dataset Source>
std::int64_t class_of(const Source& source, std::int64_t index) {
  if constexpr (LabelledDataset<Source>) {
    if (source.class_count() > 0) return source.label(index);
  }
  return 0;
}

/// The labels of a batch, gathered sample by sample: one-hot classes where the data set has some, and Augmentation's.
class BatchLabels {
 public:
  void add(std::int64_t class_index, const AugmentationDraw& drawn) {
    classes_.push_back(class_index);
    augmentation_.insert(augmentation_.end(), drawn.labels.begin(), drawn.labels.end());
  }

  /// Gives them to an ImageBatch or a PatchBatch.
  template <Backend B, Dataset Source, class Batch>
  void write(Batch& batch, const Source& source, const Augmentation& augmentation, typename B::Device device) const {
    if constexpr (LabelledDataset<Source>) {
      if (source.class_count() > 0) batch.class_labels = one_hot_labels<B>(classes_, source.class_count(), device);
    }
    if (augmentation.label_dim() > 0) {
      const auto count = static_cast<std::int64_t>(classes_.size());
      batch.augment_labels =
          B::from_host(std::span<const float>(augmentation_), {count, augmentation.label_dim()}, device);
    }
  }

 private:
  std::vector<std::int64_t> classes_{};
  std::vector<float> augmentation_{};  ///< row after row
};

}  // namespace patchdiff
