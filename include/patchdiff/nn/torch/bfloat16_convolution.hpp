// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/cpu_kernels.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/weight_casts.hpp>

namespace patchdiff::unet {

/// A convolution of bfloat16 activations with weights in float, which each call rounds to bfloat16.
struct BFloat16Convolution : ::torch::autograd::Function<BFloat16Convolution> {
  using Variables = ::torch::autograd::variable_list;

  static at::Tensor forward(::torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, std::int64_t padding) {
    const at::Tensor cast = in_bfloat16(weight.contiguous());
    context->save_for_backward({x, weight, bias});
    context->saved_data["cast"] = cast;
    context->saved_data["padding"] = padding;
    return at::conv2d(x, cast, bias.to(at::kBFloat16), 1, padding);
  }

  static Variables backward(::torch::autograd::AutogradContext* context, const Variables& gradients) {
    Variables inputs = context->get_saved_variables();
    const std::int64_t padding = context->saved_data["padding"].toInt();
    if (at::GradMode::is_enabled()) {
      Variables found = differentiable_gradients(
          [&](const Variables& from) {
            return at::conv2d(from[0].to(at::kFloat), from[1], from[2], 1, padding).to(at::kBFloat16);
          },
          inputs, gradients);
      found.emplace_back();
      return found;
    }
    const at::Tensor cast = context->saved_data["cast"].toTensor();
    auto [x, weight, bias] = at::convolution_backward(
        channels_last(gradients[0], at::kBFloat16), inputs[0], cast, inputs[2].sizes(), {1, 1}, {padding, padding},
        {1, 1}, false, {0, 0}, 1,
        {context->needs_input_grad(0), context->needs_input_grad(1), context->needs_input_grad(2)});
    if (weight.defined()) weight = in_float(weight);
    if (bias.defined()) bias = bias.to(at::kFloat);
    return {x, weight, bias, {}};
  }

 private:
  static at::Tensor in_bfloat16(const at::Tensor& weight) {
    const at::Tensor cast =
        at::empty(weight.sizes(), weight.options().dtype(at::kBFloat16), at::MemoryFormat::ChannelsLast);
    const std::int64_t in = weight.size(1), taps = weight.size(2) * weight.size(3);
    at::parallel_for(0, weight.size(0), torch_cpu::rows_per_task(in * taps),
                     [&](std::int64_t first, std::int64_t last) {
                       torch_cpu::cast_weights(weight.data_ptr<float>(), bits(cast), first, last, in, taps);
                     });
    return cast;
  }

  static at::Tensor in_float(const at::Tensor& cast) {
    const at::Tensor from = cast.contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor weight = at::empty(cast.sizes(), cast.options().dtype(at::kFloat), at::MemoryFormat::Contiguous);
    const std::int64_t in = cast.size(1), taps = cast.size(2) * cast.size(3);
    at::parallel_for(0, cast.size(0), torch_cpu::rows_per_task(in * taps), [&](std::int64_t first, std::int64_t last) {
      torch_cpu::widen_weights(bits(from), weight.data_ptr<float>(), first, last, in, taps);
    });
    return weight;
  }
};

}  // namespace patchdiff::unet
