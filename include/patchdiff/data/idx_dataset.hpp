// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/idx_array.hpp>

namespace patchdiff {

/// The files of a dataset of grey images, and how to read them.
struct IdxDatasetFiles {
  /// An IDX file of rank 3.
  std::filesystem::path images{};
  /// An IDX file of rank 1; empty: no labels.
  std::filesystem::path labels{};
  /// Each image is centred on black of this size, an odd pixel more at the bottom and right; 0x0: as stored.
  ImageSize pad_to{};
  /// 0: one more than the largest label.
  std::int64_t class_count = 0;
  /// Larger files are refused, in bytes after decompression.
  std::uint64_t maximum_bytes = std::uint64_t{1} << 32;
};

/// Reads images and labels from IDX files, plain or compressed with gzip.
///
/// Errors: as `read_idx` and ArrayDataset; DataError for files of different counts; ConfigError for `pad_to` smaller
/// than the images.
inline ArrayDataset read_idx_dataset(const IdxDatasetFiles& files) {
  constexpr const char* component = "read_idx_dataset";
  IdxArray images = read_idx(files.images, {.rank = 3, .maximum_bytes = files.maximum_bytes});
  const std::int64_t count = images.shape[0];
  const ImageSize stored{images.shape[1], images.shape[2]};
  if (images.values.empty()) {
    refuse<DataError>(component, files.images.string(), "at least one pixel", to_string(images.shape));
  }

  LabelledImages out{.shape = {1, stored.height, stored.width}, .class_count = files.class_count};
  if (!files.labels.empty()) {
    const IdxArray labels = read_idx(files.labels, {.rank = 1, .maximum_bytes = files.maximum_bytes});
    if (labels.shape[0] != count) {
      refuse<DataError>(component, files.labels.string(), str(count, " labels"), str(labels.shape[0]));
    }
    out.labels.assign(labels.values.begin(), labels.values.end());
  }

  const ImageSize padded = files.pad_to == ImageSize{} ? stored : files.pad_to;
  if (!fits(stored, padded)) {
    refuse<ConfigError>(component, "pad_to", str("at least ", to_string(stored)), to_string(padded));
  }
  if (padded == stored) {
    out.pixels = std::move(images.values);
    return ArrayDataset{std::move(out)};
  }
  out.shape = {1, padded.height, padded.width};
  out.pixels.resize(static_cast<std::size_t>(count * pixel_count(padded)));
  const std::int64_t top = (padded.height - stored.height) / 2;
  const std::int64_t left = (padded.width - stored.width) / 2;
  for (std::int64_t row = 0; row < count * stored.height; ++row) {
    const std::int64_t image = row / stored.height;
    const std::int64_t target = (image * padded.height + top + row % stored.height) * padded.width + left;
    std::copy_n(images.values.begin() + row * stored.width, stored.width, out.pixels.begin() + target);
  }
  return ArrayDataset{std::move(out)};
}

}  // namespace patchdiff
