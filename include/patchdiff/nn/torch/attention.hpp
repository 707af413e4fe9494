// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/softmax.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/attention.hpp>
#include <patchdiff/nn/torch/differentiable.hpp>
#include <patchdiff/nn/torch/products.hpp>

namespace patchdiff::unet {

/// The identity, whose gradient cannot be differentiated again.
struct OnceDifferentiable final : Differentiable {
  at::Tensor forward(const Variables& inputs) override { return inputs[0].detach(); }

  Variables backward(const Variables&, const at::Tensor& cotangent) override {
    if (at::GradMode::is_enabled()) {
      refuse<ConfigError>("unet", "attention", "plain, as second derivatives need", "fused, which has none");
    }
    return {cotangent};
  }

  bool keeps_inputs() const override { return false; }
};

/// Softmax attention over pixels, by heads: query, key, value and result are [N, heads, channels, pixels].
///
/// The softmax runs in `softmax_type`, or what the fused kernel has inside, which is no less than float32.
inline at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         at::ScalarType softmax_type, Attention attention) {
  if (attention == Attention::fused) {
    if (const auto fused = torch_compat::fused_attention(query, key, value)) {
      return recorded<OnceDifferentiable>({*fused});
    }
  }
  const auto matrices = [](const at::Tensor& x) { return x.flatten(0, 1); };
  const double scale = 1 / std::sqrt(static_cast<double>(query.size(2)));
  const at::Tensor logits = products::matrices(matrices(query).transpose(1, 2), matrices(key) * scale).to(softmax_type);
  const at::Tensor weights = at::softmax(logits, 2).to(value.scalar_type());
  return products::matrices(matrices(value), weights.transpose(1, 2)).view(value.sizes());
}

}  // namespace patchdiff::unet
