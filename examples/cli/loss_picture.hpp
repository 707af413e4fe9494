// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <patchdiff/io/picture.hpp>

/// The loss of one step, after that many images.
struct LossPoint {
  std::uint64_t images = 0;
  double loss = 0;
};

/// Draws the loss over the images seen, on a logarithmic scale: every step in light grey, their running mean in blue.
///
/// Losses that are not positive and finite are left out.
patchdiff::Picture loss_picture(const std::vector<LossPoint>& points);
