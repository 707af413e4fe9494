// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <patchdiff/core/log.hpp>

#include "drawing.hpp"
#include "model.hpp"

/// Draws by the program's models: Drawing, compiled once.
Drawn draw_samples(const Denoiser& denoiser, const DrawingOptions& options, const patchdiff::Log& log = {},
                   const DrawingCallback& callback = {});
