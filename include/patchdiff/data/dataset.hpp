// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// A source of equally large images, numbered from 0.
///
/// `read(index, out)` writes one image as [C, H, W] floats in [-1, 1]; it may be called from several threads.
template <class Source>
concept Dataset = requires(const Source& source, std::int64_t index, std::span<float> out) {
  { source.size() } -> std::same_as<std::int64_t>;
  { source.shape() } -> std::same_as<ImageShape>;
  source.read(index, out);
};

/// A dataset that can tell the class of each image: labels are 0 to `class_count() - 1`; a count of 0 means no labels.
template <class Source>
concept LabelledDataset = Dataset<Source> && requires(const Source& source, std::int64_t index) {
  { source.label(index) } -> std::same_as<std::int64_t>;
  { source.class_count() } -> std::same_as<std::int64_t>;
};

}  // namespace patchdiff
