// SPDX-License-Identifier: Apache-2.0
// A network without a gradient samples, but cannot be trained.
// Message: DenoiserWrapper: .* concept HasBackward .*net[.]backward[(]record, tensor[)].* invalid
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/train_step.hpp>

#ifdef MUST_FAIL
#define backward gradients
#endif
#include "custom_backend/pixelwise_network.hpp"
#undef backward
#include "custom_backend/span_backend.hpp"

using B = host::SpanBackend<float>;
using Denoiser = patchdiff::DenoiserWrapper<host::PixelwiseNetwork<B>>;

B::Wide::Tensor sampled(const Denoiser& denoiser) { return patchdiff::ODESampler{}(denoiser, {.seeds = {1}}); }

void trained(const patchdiff::TrainStep<B>& step, Denoiser& denoiser, const B::Tensor& images) {
  patchdiff::Adam<B> optimizer;
  patchdiff::TrainState state;
  step(denoiser, optimizer, {.images = images}, step.plan(state), state);
}
