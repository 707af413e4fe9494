// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/cpu_kernels.hpp>
#include <patchdiff/backend/torch/elementwise_kernels.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>

namespace patchdiff::unet {

/// (x + y) scale of activations that lie alike, in one pass.
struct CpuScaledSum : ::torch::autograd::Function<CpuScaledSum> {
  using Variables = ::torch::autograd::variable_list;

  static at::Tensor forward(::torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& y,
                            double scale) {
    context->saved_data["scale"] = scale;
    const at::Tensor sum = at::empty_like(x);
    by_value_type(x, [&](auto value) {
      using Value = decltype(value);
      at::parallel_for(0, x.numel(), torch_cpu::grain, [&](std::int64_t first, std::int64_t last) {
        torch_cpu::scaled_sum(values_of<Value>(x), values_of<Value>(y), static_cast<float>(scale),
                              values_of<Value>(sum), first, last);
      });
    });
    return sum;
  }

  static Variables backward(::torch::autograd::AutogradContext* context, const Variables& gradients) {
    const at::Tensor gradient = gradients[0] * context->saved_data["scale"].toDouble();
    return {gradient, gradient, {}};
  }
};

}  // namespace patchdiff::unet
