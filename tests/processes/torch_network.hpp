// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ATen.h>

#include <patchdiff/nn/torch/song_unet.hpp>

namespace patchdiff {

/// The network of SmallTraining on LibTorch, with dropout.
inline SongUNet torch_network(at::ScalarType scalar) {
  return SongUNet({.image = {8, 8},
                   .in_channels = 1 + 2,
                   .out_channels = 1,
                   .label_dim = 3,
                   .model_channels = 8,
                   .channel_mult = {1, 1},
                   .num_blocks = 1,
                   .attn_resolutions = {}},
                  {3}, {at::kCPU, scalar});
}

}  // namespace patchdiff
