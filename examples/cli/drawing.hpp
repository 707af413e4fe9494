// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <patchdiff/io/picture.hpp>

#include "model.hpp"

/// A picture of samples: `count` of each class side by side, one class per row; of a model without classes, a square.
patchdiff::Picture draw_samples(const Denoiser& denoiser, const std::vector<std::int64_t>& classes,
                                const SamplingSettings& settings);

/// Every class of a model once.
std::vector<std::int64_t> all_classes(const Denoiser& denoiser);
