// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/sampling/tiled_denoiser.hpp>
#include <patchdiff/sampling/tiling_plan.hpp>

/// Windows for drawing a grey image in some steps: as large as `largest` and 128 MiB a call allow, and overlapping as
/// far as 10 calls of the network a pixel, over all steps, do.
template <class Model>
patchdiff::TilingPlan plan_windows(const Model& denoiser, patchdiff::ImageSize largest, std::int64_t steps) {
  const auto window_bytes = [&](patchdiff::ImageSize window) {
    const patchdiff::TiledDenoiser tiled(denoiser, {.window = window});
    const at::Tensor noise = at::zeros({1, 1, window.height, window.width});
    const std::vector<double> sigma{1};
    return patchdiff::peak_torch_bytes([&] { tiled(noise, sigma, patchdiff::Places::whole(window, 1)); });
  };
  return patchdiff::plan_tiling({.image = denoiser.image().size(),
                                 .budget = 128 << 20,
                                 .largest_window = largest,
                                 .size_divisor = denoiser.network().size_divisor(),
                                 .calls_per_pixel = 10 / static_cast<double>(steps),
                                 .window_bytes = window_bytes});
}
