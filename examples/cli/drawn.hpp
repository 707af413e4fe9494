// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/npy_writer.hpp>
#include <patchdiff/io/picture.hpp>

/// Images with values as they are stored, [N, C, H, W], and how many of them make a row.
struct Drawn {
  patchdiff::Shape shape{};
  std::vector<float> values{};
  std::int64_t columns = 1;
};

/// The images on one picture, small ones enlarged.
///
/// Of images with neither 1 nor 3 channels, the first 3 are shown, or the first one of 2.
inline patchdiff::Picture picture_of(const Drawn& drawn) {
  const std::int64_t count = drawn.shape[0], channels = drawn.shape[1], width = drawn.shape[3];
  const patchdiff::ImageGrid grid({.columns = drawn.columns, .scale = std::max<std::int64_t>(1, 96 / width)});
  const std::int64_t shown = channels < 3 ? 1 : 3;
  if (shown == channels) return grid(drawn.values, drawn.shape);
  const std::int64_t plane = drawn.shape[2] * width;
  std::vector<float> values;
  for (std::int64_t image = 0; image < count; ++image) {
    const auto first = drawn.values.begin() + image * channels * plane;
    values.insert(values.end(), first, first + shown * plane);
  }
  return grid(values, {count, shown, drawn.shape[2], width});
}

/// Writes all channels as an NPY file of float32.
inline void write_array(const std::filesystem::path& path, const Drawn& drawn) {
  patchdiff::NpyWriter array(path, drawn.shape);
  array.write(drawn.values);
  array.commit();
}
