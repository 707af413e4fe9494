// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/backend/torch/lanes.hpp>

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

}  // namespace patchdiff::unet
