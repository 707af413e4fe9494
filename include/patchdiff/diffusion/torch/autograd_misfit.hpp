// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

/// The `misfit_gradient` of a PosteriorDenoiser for any operator that LibTorch can differentiate.
///
/// Shapes: `measure(images)` gives the shape of `measured`.
/// Errors: ShapeError, in the call, where it does not.
template <class Measure>
auto autograd_misfit(Measure measure, at::Tensor measured) {
  return [measure = std::move(measure), measured = std::move(measured)](const at::Tensor& denoised) {
    const at::AutoGradMode with_gradients(true);
    const at::Tensor images = denoised.detach().requires_grad_();
    const at::Tensor expected = measure(images);
    if (expected.sizes() != measured.sizes()) {
      refuse<ShapeError>("autograd_misfit", "measure", to_string(measured.sizes().vec()),
                         to_string(expected.sizes().vec()));
    }
    return ::torch::autograd::grad({(expected - measured).square().sum() / 2}, {images}).front();
  };
}

}  // namespace patchdiff
