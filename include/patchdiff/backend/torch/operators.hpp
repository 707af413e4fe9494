// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange_ops.h>
#include <ATen/ops/concat_ops.h>
#include <ATen/ops/empty_ops.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full_ops.h>
#include <ATen/ops/linalg_vector_norm_ops.h>
#include <ATen/ops/stack_ops.h>
#include <ATen/ops/zeros_ops.h>
#include <c10/core/SymIntArrayRef.h>

/// LibTorch's functions that are no members of a tensor, for headers that include nothing else of it: the headers that
/// declare them as `at::empty` and the like bring the types of its interpreter, which a host compiles for longer than
/// the whole of `at::Tensor`.
namespace patchdiff::torch_ops {

/// Calls an operator that makes a tensor; `options` say the scalar type.
template <class Operator, class... Arguments>
at::Tensor make(const at::TensorOptions& options, const Arguments&... arguments) {
  return Operator::call(arguments..., c10::optTypeMetaToScalarType(options.dtype_opt()), options.layout_opt(),
                        options.device_opt(), options.pinned_memory_opt());
}

inline at::Tensor empty(at::IntArrayRef shape, const at::TensorOptions& options) {
  return at::_ops::empty_memory_format::call(
      c10::fromIntArrayRefUnchecked(shape), c10::optTypeMetaToScalarType(options.dtype_opt()), options.layout_opt(),
      options.device_opt(), options.pinned_memory_opt(), options.memory_format_opt());
}
inline at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options) {
  return make<at::_ops::zeros>(options, c10::fromIntArrayRefUnchecked(shape));
}
inline at::Tensor scalar(double value, const at::TensorOptions& options) {
  return make<at::_ops::full>(options, c10::fromIntArrayRefUnchecked({}), at::Scalar(value));
}
/// 0, 1, ..., end - 1.
inline at::Tensor arange(std::int64_t end, const at::TensorOptions& options) {
  return make<at::_ops::arange>(options, at::Scalar(end));
}

/// Values of the host on a device, without waiting: converted on the host, into pinned memory, since a copy that
/// changes the type goes through pageable memory and may wait.
template <class Scalar>
at::Tensor uploaded(std::span<const Scalar> values, at::IntArrayRef shape, at::Device device, at::ScalarType type) {
  const at::Tensor host = empty(shape, at::TensorOptions(type).pinned_memory(device.is_cuda()));
  if (!values.empty()) {
    host.copy_(at::from_blob(const_cast<Scalar*>(values.data()), shape, at::CppTypeToScalarType<Scalar>::value));
  }
  return host.to(device, /*non_blocking=*/true);
}

/// Each of the firsts and the integers that follow it: [firsts, length].
inline at::Tensor ranges(std::span<const std::int64_t> firsts, std::int64_t length, at::Device device) {
  return uploaded(firsts, {static_cast<std::int64_t>(firsts.size()), 1}, device, at::kLong)
      .add(arange(length, at::TensorOptions(device).dtype(at::kLong)));
}

inline at::Tensor concat(at::TensorList parts, std::int64_t dimension) {
  return at::_ops::concat::call(parts, dimension);
}
inline at::Tensor stack(at::TensorList parts, std::int64_t dimension) {
  return at::_ops::stack::call(parts, dimension);
}

/// Of all elements, computed in float64.
inline at::Tensor wide_norm(const at::Tensor& x) {
  return at::_ops::linalg_vector_norm::call(x, 2, at::OptionalIntArrayRef{}, false, at::kDouble);
}

}  // namespace patchdiff::torch_ops
