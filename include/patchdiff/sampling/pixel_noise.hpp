// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/normal_draws.hpp>
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
  NormalDraws draws;
  for (const std::uint64_t seed : seeds) draws.streams.push_back({{seed}, purpose, step, draw});
  const bool whole = window.size() == image.size();
  if (whole) {
    draws.length = static_cast<std::size_t>(image.channels * pixel_count(image.size()));
  } else {
    draws.firsts.clear();
    for (std::int64_t channel = 0; channel < image.channels; ++channel) {
      for (std::int64_t row = window.top; row < window.top + window.height; ++row) {
        draws.firsts.push_back(static_cast<std::uint64_t>((channel * image.height + row) * image.width + window.left));
      }
    }
    draws.length = static_cast<std::size_t>(window.width);
  }
  return draw_normals<B, double>(
      draws, {static_cast<std::int64_t>(seeds.size()), image.channels, window.height, window.width}, device);
}

}  // namespace patchdiff
