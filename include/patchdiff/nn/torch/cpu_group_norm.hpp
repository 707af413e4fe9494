// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <tuple>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/silu.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/norm_gradient_kernels.hpp>
#include <patchdiff/nn/torch/norm_kernels.hpp>

namespace patchdiff::unet {

/// Group norm of activations in float or bfloat16; `shift` without values means none: LibTorch 1.13 takes no undefined
/// inputs.
struct CpuGroupNorm : ::torch::autograd::Function<CpuGroupNorm> {
  using Variables = ::torch::autograd::variable_list;

  static at::Tensor forward(::torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& shift,
                            const at::Tensor& scale, const at::Tensor& offset, std::int64_t groups, double epsilon,
                            bool silu) {
    const at::Tensor result = at::empty_like(x);
    const at::Tensor mean = at::empty({x.size(0), groups}, scale.options());
    const at::Tensor inverse_deviation = at::empty_like(mean);
    by_value_type(x, [&](auto value) {
      for_samples(x, 3, [&](std::int64_t sample, torch_cpu::ChannelArrays& work) {
        torch_cpu::norm(sample_of<decltype(value)>(sample, x, shift, scale, offset, mean, inverse_deviation, epsilon,
                                                   silu, &result),
                        work);
      });
    });
    context->save_for_backward({x, shift, scale, offset});
    context->saved_data["mean"] = mean;
    context->saved_data["inverse_deviation"] = inverse_deviation;
    context->saved_data["groups"] = groups;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["silu"] = silu;
    return result;
  }

  static Variables backward(::torch::autograd::AutogradContext* context, const Variables& gradients) {
    const Variables inputs = context->get_saved_variables();
    const bool silu = context->saved_data["silu"].toBool();
    const double epsilon = context->saved_data["epsilon"].toDouble();
    if (at::GradMode::is_enabled()) {
      const std::int64_t groups = context->saved_data["groups"].toInt();
      Variables found = differentiable_gradients(
          [&](const Variables& from) { return plain(from[0], from[1], from[2], from[3], groups, epsilon, silu); },
          inputs, gradients);
      found.resize(7);
      return found;
    }
    const at::Tensor &x = inputs[0], &shift = inputs[1], &scale = inputs[2], &offset = inputs[3];
    const at::Tensor mean = context->saved_data["mean"].toTensor();
    const at::Tensor inverse_deviation = context->saved_data["inverse_deviation"].toTensor();
    const at::Tensor cotangent = channels_last(gradients[0], x.scalar_type());
    const at::Tensor x_gradient = at::empty_like(x), scale_gradient = at::empty_like(scale);
    const at::Tensor offset_gradient = at::empty_like(offset);
    const at::Tensor shift_gradient = shifted(shift) ? at::empty_like(shift) : at::Tensor();
    const std::int64_t channels = x.size(1), values = values_of_sample(x);
    by_value_type(x, [&](auto value) {
      using Value = decltype(value);
      for_samples(x, 10, [&](std::int64_t sample, torch_cpu::ChannelArrays& work) {
        const auto by_channel = [&](const at::Tensor& gradient) {
          return gradient.defined() ? gradient.data_ptr<float>() + sample * channels : nullptr;
        };
        torch_cpu::norm_backward<Value>(
            sample_of<Value>(sample, x, shift, scale, offset, mean, inverse_deviation, epsilon, silu, nullptr),
            {.y = values_of<Value>(cotangent) + sample * values,
             .x = values_of<Value>(x_gradient) + sample * values,
             .shift = by_channel(shift_gradient),
             .scale = by_channel(scale_gradient),
             .offset = by_channel(offset_gradient)},
            work);
      });
    });
    return {x_gradient, shift_gradient, scale_gradient, offset_gradient, {}, {}, {}};
  }

 private:
  template <class Value>
  static torch_cpu::NormSample<Value> sample_of(std::int64_t sample, const at::Tensor& x, const at::Tensor& shift,
                                                const at::Tensor& scale, const at::Tensor& offset,
                                                const at::Tensor& mean, const at::Tensor& inverse_deviation,
                                                double epsilon, bool silu, const at::Tensor* result) {
    const std::int64_t channels = x.size(1), groups = mean.size(1), values = values_of_sample(x);
    return {.pixels = values / channels,
            .channels = channels,
            .groups = groups,
            .epsilon = epsilon,
            .silu = silu,
            .x = values_of<Value>(x) + sample * values,
            .shift = shifted(shift) ? shift.data_ptr<float>() + sample * channels : nullptr,
            .scale = scale.data_ptr<float>() + sample * channels,
            .offset = offset.data_ptr<float>() + sample * channels,
            .mean = mean.data_ptr<float>() + sample * groups,
            .inverse_deviation = inverse_deviation.data_ptr<float>() + sample * groups,
            .y = result ? values_of<Value>(*result) + sample * values : nullptr};
  }

  static bool shifted(const at::Tensor& shift) { return shift.numel() > 0; }

  static std::int64_t values_of_sample(const at::Tensor& x) { return x.size(1) * x.size(2) * x.size(3); }

  template <class F>
  static void for_samples(const at::Tensor& x, std::int64_t arrays, const F& f) {
    const std::int64_t values = values_of_sample(x);
    at::parallel_for(0, x.size(0), 1 + 4096 / std::max<std::int64_t>(1, values),
                     [&](std::int64_t sample, std::int64_t end) {
                       torch_cpu::ChannelArrays work(arrays, x.size(1));
                       for (; sample < end; ++sample) f(sample, work);
                     });
  }

  static at::Tensor plain(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                          const at::Tensor& offset, std::int64_t groups, double epsilon, bool silu) {
    const auto by_channel = [](const at::Tensor& values) { return values.unsqueeze(2).unsqueeze(3); };
    at::Tensor h = x.to(at::kFloat);
    if (shifted(shift)) h = h + by_channel(shift);
    h = std::get<0>(
        at::native_group_norm(h.contiguous(), {}, {}, h.size(0), h.size(1), h.size(2) * h.size(3), groups, epsilon));
    h = h * by_channel(scale) + by_channel(offset);
    return (silu ? at::silu(h) : h).to(x.scalar_type());
  }
};

}  // namespace patchdiff::unet
