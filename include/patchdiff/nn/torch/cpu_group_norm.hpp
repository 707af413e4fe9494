// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <tuple>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/silu.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/differentiable.hpp>
#include <patchdiff/nn/torch/norm_gradient_kernels.hpp>
#include <patchdiff/nn/torch/norm_kernels.hpp>

namespace patchdiff::unet {

/// Group norm of activations in float or bfloat16, of a multiple of 16 channels; an empty list as `shift` means none.
class CpuGroupNorm final : public Differentiable {
 public:
  /// Errors: ShapeError for a shift, scale or offset that is not [N, channels].
  static at::Tensor apply(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale,
                          const at::Tensor& offset, std::int64_t groups, double epsilon, bool silu) {
    const Shape expected{x.size(0), x.size(1)};
    const auto require_by_channel = [&](std::string_view argument, const at::Tensor& by_channel) {
      if (by_channel.sizes() == at::IntArrayRef(expected)) return;
      refuse<ShapeError>("CpuGroupNorm", argument, to_string(expected), to_string(by_channel.sizes().vec()));
    };
    if (shift.dim() != 1 || shifted(shift)) require_by_channel("shift", shift);
    require_by_channel("scale", scale);
    require_by_channel("offset", offset);
    return recorded<CpuGroupNorm>({x, shift, scale, offset}, groups, epsilon, silu);
  }

  CpuGroupNorm(std::int64_t groups, double epsilon, bool silu) : groups_(groups), epsilon_(epsilon), silu_(silu) {}

  at::Tensor forward(const Variables& inputs) override {
    const at::Tensor &x = inputs[0], &scale = inputs[2];
    const at::Tensor result = at::empty_like(x);
    mean_ = at::empty({x.size(0), groups_}, scale.options());
    inverse_deviation_ = at::empty_like(mean_);
    by_kernel_types(x, [&]<class V, class Value>() {
      for_samples(x, 3, [&](std::int64_t sample, torch_cpu::ChannelArrays& work) {
        torch_cpu::norm<V>(sample_of<Value>(sample, inputs, &result), work);
      });
    });
    return result;
  }

  Variables backward(const Variables& inputs, const at::Tensor& cotangent) override {
    if (at::GradMode::is_enabled()) {
      return autograd_gradients([this](const Variables& from) { return plain(from); }, inputs, inputs.size(),
                                cotangent);
    }
    const at::Tensor &x = inputs[0], &shift = inputs[1];
    const at::Tensor y_gradient = channels_last(cotangent, x.scalar_type()), x_gradient = at::empty_like(x);
    const at::Tensor scale_gradient = at::empty_like(inputs[2]), offset_gradient = at::empty_like(inputs[3]);
    const at::Tensor shift_gradient = shifted(shift) ? at::empty_like(shift) : at::Tensor();
    const std::int64_t channels = x.size(1), values = values_of_sample(x);
    by_kernel_types(x, [&]<class V, class Value>() {
      for_samples(x, 8, [&](std::int64_t sample, torch_cpu::ChannelArrays& work) {
        const auto by_channel = [&](const at::Tensor& gradient) {
          return gradient.defined() ? gradient.data_ptr<float>() + sample * channels : nullptr;
        };
        torch_cpu::norm_backward<V, Value>(sample_of<Value>(sample, inputs, nullptr),
                                           {.y = values_of<Value>(y_gradient) + sample * values,
                                            .x = values_of<Value>(x_gradient) + sample * values,
                                            .shift = by_channel(shift_gradient),
                                            .scale = by_channel(scale_gradient),
                                            .offset = by_channel(offset_gradient)},
                                           work);
      });
    });
    return {x_gradient, shift_gradient, scale_gradient, offset_gradient};
  }

 private:
  template <class Value>
  torch_cpu::NormSample<Value> sample_of(std::int64_t sample, const Variables& inputs, const at::Tensor* result) const {
    const at::Tensor &x = inputs[0], &shift = inputs[1], &scale = inputs[2], &offset = inputs[3];
    const std::int64_t channels = x.size(1), values = values_of_sample(x);
    return {.pixels = values / channels,
            .channels = channels,
            .groups = groups_,
            .epsilon = epsilon_,
            .silu = silu_,
            .x = values_of<Value>(x) + sample * values,
            .shift = shifted(shift) ? shift.data_ptr<float>() + sample * channels : nullptr,
            .scale = scale.data_ptr<float>() + sample * channels,
            .offset = offset.data_ptr<float>() + sample * channels,
            .mean = mean_.data_ptr<float>() + sample * groups_,
            .inverse_deviation = inverse_deviation_.data_ptr<float>() + sample * groups_,
            .y = result ? values_of<Value>(*result) + sample * values : nullptr};
  }

  /// The same by LibTorch's operators.
  at::Tensor plain(const Variables& inputs) const {
    const at::Tensor &x = inputs[0], &shift = inputs[1];
    const auto by_channel = [](const at::Tensor& values) { return values.unsqueeze(2).unsqueeze(3); };
    at::Tensor h = x.to(at::kFloat);
    if (shifted(shift)) h = h + by_channel(shift);
    h = std::get<0>(
        at::native_group_norm(h.contiguous(), {}, {}, h.size(0), h.size(1), h.size(2) * h.size(3), groups_, epsilon_));
    h = h * by_channel(inputs[2]) + by_channel(inputs[3]);
    return (silu_ ? at::silu(h) : h).to(x.scalar_type());
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

  std::int64_t groups_;
  double epsilon_;
  bool silu_;
  at::Tensor mean_{};
  at::Tensor inverse_deviation_{};
};

}  // namespace patchdiff::unet
