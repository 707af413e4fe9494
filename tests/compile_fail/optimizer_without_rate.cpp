// SPDX-License-Identifier: Apache-2.0
// An optimiser whose learning rate cannot be set.
// Message: Optimizer<.*optimizer[.]set_learning_rate[(]rate[)].* invalid
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/training/train_step.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"

using B = host::SpanBackend<float>;
using Denoiser = patchdiff::DenoiserWrapper<host::PixelwiseNetwork<B>>;

struct Descent {
  static constexpr bool obeys_flag = false;
  void step(Denoiser& denoiser, const B::Tensor&) {
    denoiser.visit_parameters(
        [](auto, B::Tensor& value, B::Tensor& gradient) { value = patchdiff::linear<B>(1, value, -0.1, gradient); });
  }
#ifndef MUST_FAIL
  void set_learning_rate(double) {}
#endif
};

void trained(const patchdiff::TrainStep<B>& step, Denoiser& denoiser, const B::Tensor& images) {
  Descent optimizer;
  patchdiff::TrainState state;
  step(denoiser, optimizer, {.images = images}, step.plan(state), state);
}
