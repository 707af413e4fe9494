// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/sampling/window.hpp>

namespace patchdiff {

/// Unit normal noise of a window, indexed by absolute pixel: a window gets the same numbers as that part of the image.
///
/// `draw` numbers the draws of one purpose within a step.
/// Shapes: [N, C, window height, window width], one sample per seed.
/// Draws: pixel (c, row, column) of the full image is number (c H + row) W + column of the seed's stream.
template <Backend B>
typename B::Tensor pixel_noise(std::span<const std::uint64_t> seeds, Purpose purpose, std::uint64_t step,
                               std::uint64_t draw, ImageShape image, const Window& window, typename B::Device device) {
  const auto row_length = static_cast<std::size_t>(window.width);
  std::vector<double> values(seeds.size() * static_cast<std::size_t>(image.channels * window.height) * row_length);
  std::span<double> rest(values);
  for (const std::uint64_t seed : seeds) {
    const RandomStream stream({seed}, purpose, step, draw);
    for (std::int64_t channel = 0; channel < image.channels; ++channel) {
      for (std::int64_t row = window.top; row < window.top + window.height; ++row) {
        const std::int64_t first = (channel * image.height + row) * image.width + window.left;
        stream.normals(rest.first(row_length), static_cast<std::uint64_t>(first));
        rest = rest.subspan(row_length);
      }
    }
  }
  const auto count = static_cast<std::int64_t>(seeds.size());
  return B::from_host(std::span<const double>(values), {count, image.channels, window.height, window.width}, device);
}

}  // namespace patchdiff
