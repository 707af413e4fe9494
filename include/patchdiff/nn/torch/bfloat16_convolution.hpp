// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>

#include <patchdiff/backend/torch/cpu_kernels.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/differentiable.hpp>
#include <patchdiff/nn/torch/weight_casts.hpp>

namespace patchdiff::unet {

/// A convolution of bfloat16 activations with weights in float, which each call rounds to bfloat16.
class BFloat16Convolution final : public Differentiable {
 public:
  static at::Tensor apply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, std::int64_t padding) {
    return recorded<BFloat16Convolution>({x, weight, bias}, padding);
  }

  explicit BFloat16Convolution(std::int64_t padding) : padding_(padding) {}

  at::Tensor forward(const Variables& inputs) override {
    cast_ = in_bfloat16(inputs[1].contiguous());
    return at::conv2d(inputs[0], cast_, inputs[2].to(at::kBFloat16), 1, padding_);
  }

  Variables backward(const Variables& inputs, const at::Tensor& cotangent) override {
    if (at::GradMode::is_enabled()) {
      return autograd_gradients(
          [&](const Variables& from) {
            return at::conv2d(from[0].to(at::kFloat), from[1], from[2], 1, padding_).to(at::kBFloat16);
          },
          inputs, inputs.size(), cotangent);
    }
    auto [x, weight, bias] = at::convolution_backward(
        channels_last(cotangent, at::kBFloat16), inputs[0], cast_, inputs[2].sizes(), {1, 1}, {padding_, padding_},
        {1, 1}, false, {0, 0}, 1,
        {task_should_compute_output(0), task_should_compute_output(1), task_should_compute_output(2)});
    if (weight.defined()) weight = in_float(weight);
    if (bias.defined()) bias = bias.to(at::kFloat);
    return {x, weight, bias};
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

  std::int64_t padding_;
  at::Tensor cast_{};
};

}  // namespace patchdiff::unet
