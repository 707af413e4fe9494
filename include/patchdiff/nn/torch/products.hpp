// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/core/compiled_twice.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>

/// LibTorch's convolutions and products of matrices, in the type that autocast says, with sums in float32 at least.
///
/// For bfloat16 on a processor without AVX-512, oneDNN has no kernels; LibTorch 1.13's own round the sum to bfloat16
/// after each term. There, products of values rounded to bfloat16 are computed in float32, forward and backward, and
/// rounded once: what oneDNN does. With AVX-512, products of matrices of up to 4,096 multiplications stay LibTorch's
/// own.
namespace patchdiff::unet::products {

/// Whether LibTorch would sum products of x in bfloat16.
inline bool sums_in_bfloat16(const at::Tensor& x) {
  return !has_avx512() && x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         torch_compat::autocast_enabled(at::kCPU) && torch_compat::autocast_type(at::kCPU) == at::kBFloat16;
}

inline at::Tensor rounded(const at::Tensor& x) { return x.defined() ? x.to(at::kBFloat16).to(at::kFloat) : x; }

template <class Product, class... Operands>
at::Tensor of(const Product& product, const at::Tensor& x, const Operands&... operands) {
  if (!sums_in_bfloat16(x)) return product(x, operands...);
  const AutocastGuard in_float(at::kCPU, Precision::float32);
  return product(rounded(x), rounded(operands)...).to(at::kBFloat16);
}

inline at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {}) {
  return of([](const auto&... operands) { return at::linear(operands...); }, x, weight, bias);
}

inline at::Tensor matrices(const at::Tensor& x, const at::Tensor& y) {
  return of([](const auto&... operands) { return at::bmm(operands...); }, x, y);
}

/// What a convolution is told besides its operands.
struct Steps {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t groups = 1;
};

inline at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, Steps steps) {
  return of(
      [&](const auto&... operands) { return at::conv2d(operands..., steps.stride, steps.padding, 1, steps.groups); }, x,
      weight, bias);
}

}  // namespace patchdiff::unet::products
