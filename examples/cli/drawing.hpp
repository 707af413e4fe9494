// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include <patchdiff/core/log.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/io/picture.hpp>

#include "model.hpp"

/// Where the drawing of a picture stands after a step of the sampler.
struct DrawingProgress {
  std::int64_t step = 0;  ///< steps done, over all of the picture's parts
  std::int64_t num_steps = 0;
  double sigma = 0;                                ///< noise level of the step
  std::function<patchdiff::Picture()> estimate{};  ///< the picture as it is estimated now, grey where it is not begun
};

/// Called after each step; what it throws ends the drawing.
using DrawingCallback = std::function<void(const DrawingProgress&)>;

/// What a picture shows of a model, and how it is drawn.
struct DrawingOptions {
  std::vector<std::int64_t> classes{};  ///< one per row; of a model without classes, none
  SamplingSettings sampling{};
  patchdiff::Normalization normalization{};                              ///< undone in what is drawn; empty: none
  std::int64_t longest_side = std::numeric_limits<std::int64_t>::max();  ///< of larger images, the middle is drawn
};

/// A picture of samples: `count` of each class side by side, one class per row; of a model without classes, a square.
///
/// Of images with neither 1 nor 3 channels, the first 3 are shown, or the first one of 2.
patchdiff::Picture draw_samples(const Denoiser& denoiser, const DrawingOptions& options, const patchdiff::Log& log = {},
                                const DrawingCallback& callback = {});
