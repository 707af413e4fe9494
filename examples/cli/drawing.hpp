// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <patchdiff/core/log.hpp>
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

/// A picture of samples: `count` of each class side by side, one class per row; of a model without classes, a square.
patchdiff::Picture draw_samples(const Denoiser& denoiser, const std::vector<std::int64_t>& classes,
                                const SamplingSettings& settings, const patchdiff::Log& log = {},
                                const DrawingCallback& callback = {});

/// Every class of a model once.
std::vector<std::int64_t> all_classes(const Denoiser& denoiser);
