// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>

namespace patchdiff {

/// Images with what belongs to them, sample by sample.
///
/// Shapes: images [N, C, H, W]; mask [N, 1 or C, H, W], weights of the loss per pixel; fields [N, F, H, W], condition
/// images that the network reads; class_labels [N, label_dim], one-hot or soft; augment_labels [N, A].
template <Backend B>
struct ImageBatch {
  typename B::Tensor images;
  std::optional<typename B::Tensor> mask{};
  std::optional<typename B::Tensor> fields{};
  std::optional<typename B::Tensor> class_labels{};
  std::optional<typename B::Tensor> augment_labels{};
  std::vector<PixelMap> maps{};    ///< of augmented images to those that coordinates are of; empty: all as they were
  std::uint64_t first_sample = 0;  ///< number of the first image within the step, when a step is taken in parts
};

/// Patches, and the places that they were cut from; mask and fields are cut at the same places.
template <Backend B>
struct PatchBatch {
  typename B::Tensor images;
  std::optional<typename B::Tensor> mask{};
  std::optional<typename B::Tensor> fields{};
  Places places{};
  std::optional<typename B::Tensor> class_labels{};
  std::optional<typename B::Tensor> augment_labels{};
  std::uint64_t first_sample = 0;  ///< as of the ImageBatch
};

}  // namespace patchdiff
