// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

#include <patchdiff/backend/torch/cpu_kernels.hpp>
#include <patchdiff/backend/torch/elementwise_kernels.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/differentiable.hpp>

namespace patchdiff::unet {

/// (x + y) scale of activations that lie alike, in one pass.
class CpuScaledSum final : public Differentiable {
 public:
  static at::Tensor apply(const at::Tensor& x, const at::Tensor& y, double scale) {
    return recorded<CpuScaledSum>({x, y}, scale);
  }

  explicit CpuScaledSum(double scale) : scale_(scale) {}

  at::Tensor forward(const Variables& inputs) override {
    const at::Tensor &x = inputs[0], &y = inputs[1];
    const at::Tensor sum = at::empty_like(x);
    by_value_type(x, [&](auto value) {
      using Value = decltype(value);
      at::parallel_for(0, x.numel(), torch_cpu::grain, [&](std::int64_t first, std::int64_t last) {
        torch_cpu::scaled_sum(values_of<Value>(x), values_of<Value>(y), static_cast<float>(scale_),
                              values_of<Value>(sum), first, last);
      });
    });
    return sum;
  }

  Variables backward(const Variables&, const at::Tensor& cotangent) override {
    const at::Tensor gradient = cotangent * scale_;
    return {gradient, gradient};
  }

  bool keeps_inputs() const override { return false; }

 private:
  double scale_;
};

}  // namespace patchdiff::unet
