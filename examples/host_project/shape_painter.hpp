// SPDX-License-Identifier: Apache-2.0
// The host's own interface: nothing of patchdiff, nothing of LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#ifdef __GNUC__
#define SHAPE_PAINTER_API __attribute__((visibility("default")))
#else
#define SHAPE_PAINTER_API
#endif

struct Painting {
  double first_loss = 0, last_loss = 0;  // means over the first and the last 8 steps
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;
};

// Trains on `images` generated pictures of that side, then paints four new ones side by side.
SHAPE_PAINTER_API Painting paint_shapes(std::int64_t side, std::uint64_t images);
