// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
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

/// How the images lie on one picture, small ones enlarged.
inline patchdiff::ImageGridOptions grid_of(const Drawn& drawn) {
  return {.columns = drawn.columns, .scale = std::max<std::int64_t>(1, 96 / drawn.shape[3])};
}

/// Refuses images that no PNG file shows on one picture; their values do not matter. Errors: ConfigError.
inline void require_picture(const Drawn& drawn) {
  constexpr std::int64_t most_columns = 65536;      // of ImageGrid
  constexpr std::int64_t longest_side = 1'000'000;  // libpng takes no more
  const patchdiff::ImageGridOptions grid = grid_of(drawn);
  const auto side = [&](std::int64_t images, std::int64_t pixels) {
    const auto margin = static_cast<double>(grid.margin), scale = static_cast<double>(grid.scale);
    return static_cast<double>(images) * (static_cast<double>(pixels) * scale + margin) + margin;
  };
  const std::int64_t rows = (drawn.shape[0] + drawn.columns - 1) / drawn.columns;
  const double height = side(rows, drawn.shape[2]), width = side(drawn.columns, drawn.shape[3]);
  if (drawn.columns <= most_columns && std::max(height, width) <= static_cast<double>(longest_side)) return;
  throw patchdiff::ConfigError(
      "sample", "--count",
      fmt::format("a picture of at most {} pixels a side and {} images in a row", longest_side, most_columns),
      fmt::format("{:.0f}x{:.0f} with {} in a row", height, width, drawn.columns));
}

/// The images on one picture.
///
/// Of images with neither 1 nor 3 channels, the first 3 are shown, or the first one of 2.
inline patchdiff::Picture picture_of(const Drawn& drawn) {
  const std::int64_t count = drawn.shape[0], channels = drawn.shape[1], width = drawn.shape[3];
  const patchdiff::ImageGrid grid(grid_of(drawn));
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
