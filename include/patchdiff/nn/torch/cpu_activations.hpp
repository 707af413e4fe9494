// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include <ATen/core/Tensor.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/core/compiled_twice.hpp>

/// What a U-Net's layers are made of where they run in float on a processor with AVX2, or in bfloat16 on one with
/// AVX-512. On others LibTorch's are used.
///
/// Activations lie with the channels of a pixel side by side, as LibTorch's convolutions then copy least and group norm
/// with all around it is one kernel. Weights and their gradients stay float: in bfloat16 each call makes a copy of
/// them, so none can be stale.
namespace patchdiff::unet {

/// The scalar type of activations where layers with these weights run by kernels of their own: float or, under
/// autocast, bfloat16; else nothing.
inline std::optional<at::ScalarType> cpu_type(const at::Tensor& weight) {
  if (!has_avx2() || !weight.device().is_cpu() || weight.scalar_type() != at::kFloat) return std::nullopt;
  if (!torch_compat::autocast_enabled(at::kCPU)) return at::kFloat;
  if (has_avx512() && torch_compat::autocast_type(at::kCPU) == at::kBFloat16) return at::kBFloat16;
  return std::nullopt;
}

/// Whether kernels that read channels by whole vectors, be they of 16 or 8, take as many.
inline bool fills_vectors(std::int64_t channels) { return channels > 0 && channels % torch_cpu::lanes == 0; }

/// Activations as these layers take them.
inline at::Tensor channels_last(const at::Tensor& x, at::ScalarType type) {
  return x.to(type).contiguous(at::MemoryFormat::ChannelsLast);
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

/// Calls f.operator()<V, Value>() with that type and the vectors that kernels of it run over on this processor.
template <class F>
void by_kernel_types(const at::Tensor& x, const F& f) {
  if (x.scalar_type() != at::kFloat) return f.template operator()<torch_cpu::Floats, torch_cpu::Bits16>();
  if (has_avx512()) return f.template operator()<torch_cpu::Floats, float>();
  f.template operator()<torch_cpu::Floats8, float>();
}

}  // namespace patchdiff::unet
