// SPDX-License-Identifier: Apache-2.0
#include "draw_samples.hpp"

Drawn draw_samples(const Denoiser& denoiser, const DrawingOptions& options, const patchdiff::Log& log,
                   const DrawingCallback& callback) {
  return Drawing(denoiser, options, log).draw(callback);
}
