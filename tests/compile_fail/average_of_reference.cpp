// SPDX-License-Identifier: Apache-2.0
// Averaged weights for a model that only refers to its network, which would lose the weights that are trained.
// Message: this model refers to a network of others
#include <functional>
#include <utility>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/training/ema.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"

using B = host::SpanBackend<float>;
using Denoiser = patchdiff::DenoiserWrapper<std::reference_wrapper<host::PixelwiseNetwork<B>>>;

void average(const patchdiff::EMA<B>& ema, Denoiser& denoiser) {
#ifdef MUST_FAIL
  ema.apply_to(std::move(denoiser));
#else
  ema.apply_to(denoiser.clone());
#endif
}
