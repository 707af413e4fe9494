// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// A source of equally large images, numbered from 0.
///
/// `read(index, out)` writes one image as [C, H, W] floats in [-1, 1]. A loader's threads call the const members of a
/// data set, of this concept and of those below, at the same time: they must allow that.
template <class Source>
concept Dataset = requires(const Source& source, std::int64_t index, std::span<float> out) {
  { source.size() } -> std::same_as<std::int64_t>;
  { source.shape() } -> std::same_as<ImageShape>;
  source.read(index, out);
};

/// Refuses values of an image that are not finite. Errors: DataError of the component.
inline void require_finite(std::string_view component, std::span<const float> values, std::int64_t index) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      refuse<DataError>(component, "images", "finite values", str(value, " in image ", index));
    }
  }
}

/// A dataset that reads parts of an image alone: `read_patch(index, place, size, out)` writes [C, h, w] floats, with
/// zeros where the patch lies outside of the image.
template <class Source>
concept RegionDataset = Dataset<Source> &&
    requires(const Source& source, std::int64_t index, const Place& place, ImageSize patch, std::span<float> out) {
  source.read_patch(index, place, patch, out);
};

/// Whether a dataset reads parts of its images: one around another that it learns at run time says so itself.
template <Dataset Source>
bool has_regions(const Source& source) {
  if constexpr (requires { source.has_regions(); }) {
    return source.has_regions();
  } else {
    return RegionDataset<Source>;
  }
}

/// A dataset that can tell the class of each image: labels are 0 to `class_count() - 1`; a count of 0 means no labels.
template <class Source>
concept LabelledDataset = Dataset<Source> && requires(const Source& source, std::int64_t index) {
  { source.label(index) } -> std::same_as<std::int64_t>;
  { source.class_count() } -> std::same_as<std::int64_t>;
};

}  // namespace patchdiff
