// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/backend/torch/elementwise_kernels.hpp>
#include <patchdiff/nn/torch/norm_gradient_kernels.hpp>
#include <patchdiff/nn/torch/norm_kernels.hpp>
#include <patchdiff/nn/torch/weight_casts.hpp>

/// What a U-Net's layers are made of where they run in float or bfloat16 on the processor.
///
/// Activations lie with the channels of a pixel side by side, as LibTorch's convolutions then copy least and group norm
/// with all around it is one kernel. Weights and their gradients stay float: in bfloat16 each call makes a copy of
/// them, so none can be stale.
namespace patchdiff::unet {

/// The scalar type of activations where layers with these weights run by kernels of their own: float or, under
/// autocast, bfloat16, both on the processor; else nothing.
inline std::optional<at::ScalarType> cpu_type(const at::Tensor& weight) {
  if (!weight.device().is_cpu() || weight.scalar_type() != at::kFloat) return std::nullopt;
  if (!torch_compat::autocast_enabled(at::kCPU)) return at::kFloat;
  if (torch_compat::autocast_type(at::kCPU) == at::kBFloat16) return at::kBFloat16;
  return std::nullopt;
}

/// Activations as these layers take them.
inline at::Tensor channels_last(const at::Tensor& x, at::ScalarType type) {
  return x.to(type).contiguous(at::MemoryFormat::ChannelsLast);
}

/// Gradients by differentiable operators: what a custom function does when its backward is to be differentiated too.
template <class F>
::torch::autograd::variable_list differentiable_gradients(const F& f, ::torch::autograd::variable_list inputs,
                                                          const ::torch::autograd::variable_list& cotangent) {
  const at::AutoGradMode with_gradients(true);
  ::torch::autograd::variable_list wanted, result(inputs.size());
  for (at::Tensor& input : inputs) {
    if (!input.defined() || !input.requires_grad()) continue;
    input = input.view_as(input);  // gradients stop here, whatever the input was computed from
    wanted.push_back(input);
  }
  const auto found = ::torch::autograd::grad({f(inputs)}, wanted, cotangent, true, true, /*allow_unused=*/true);
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined() && inputs[i].requires_grad()) result[i] = found[next++];
  }
  return result;
}

template <class Value>
Value* values_of(const at::Tensor& x) {
  return static_cast<Value*>(x.data_ptr());
}

inline torch_cpu::Bits16* bits(const at::Tensor& x) { return values_of<torch_cpu::Bits16>(x); }

/// Calls f with a value of the type that holds a tensor's values: float, or the bits of a bfloat16.
template <class F>
void by_value_type(const at::Tensor& x, const F& f) {
  x.scalar_type() == at::kFloat ? f(float{}) : f(torch_cpu::Bits16{});
}

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
    at::parallel_for(0, weight.size(0), rows_per_task(in * taps), [&](std::int64_t first, std::int64_t last) {
      torch_cpu::cast_weights(weight.data_ptr<float>(), bits(cast), first, last, in, taps);
    });
    return cast;
  }

  static at::Tensor in_float(const at::Tensor& cast) {
    const at::Tensor from = cast.contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor weight = at::empty(cast.sizes(), cast.options().dtype(at::kFloat), at::MemoryFormat::Contiguous);
    const std::int64_t in = cast.size(1), taps = cast.size(2) * cast.size(3);
    at::parallel_for(0, cast.size(0), rows_per_task(in * taps), [&](std::int64_t first, std::int64_t last) {
      torch_cpu::widen_weights(bits(from), weight.data_ptr<float>(), first, last, in, taps);
    });
    return weight;
  }

  static std::int64_t rows_per_task(std::int64_t length) { return 1 + 32768 / length; }
};

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

/// (x + y) scale of activations that lie alike, in one pass.
struct CpuScaledSum : ::torch::autograd::Function<CpuScaledSum> {
  using Variables = ::torch::autograd::variable_list;

  static at::Tensor forward(::torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& y,
                            double scale) {
    context->saved_data["scale"] = scale;
    const at::Tensor sum = at::empty_like(x);
    by_value_type(x, [&](auto value) {
      using Value = decltype(value);
      at::parallel_for(0, x.numel(), 32768, [&](std::int64_t first, std::int64_t last) {
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
