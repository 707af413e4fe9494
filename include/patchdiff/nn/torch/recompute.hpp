// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <patchdiff/nn/torch/differentiable.hpp>

namespace patchdiff::unet {

/// A differentiable function of activations that must give the same whenever it is called with the same.
using Recomputable = std::function<at::Tensor(at::TensorList activations)>;

class Recomputation final : public Differentiable {
 public:
  Recomputation(Recomputable function, std::size_t activations)
      : function_(std::move(function)), activations_(activations) {}

  at::Tensor forward(const Variables& inputs) override { return called(inputs); }

  Variables backward(const Variables& inputs, const at::Tensor& cotangent) override {
    return autograd_gradients([this](const Variables& from) { return called(from); }, inputs, activations_, cotangent);
  }

 private:
  at::Tensor called(const Variables& inputs) const { return function_(at::TensorList(inputs).slice(0, activations_)); }

  Recomputable function_;
  std::size_t activations_;
};

/// Calls `function` and keeps none of what its backward needs: that calls it again.
///
/// `weights` are all other tensors that the function reads and that may want a gradient.
/// Cost: memory of the activations and the result; each backward costs one more call.
inline at::Tensor recomputed(Recomputable function, const std::vector<at::Tensor>& activations,
                             const std::vector<at::Tensor>& weights) {
  Variables inputs = activations;
  inputs.insert(inputs.end(), weights.begin(), weights.end());
  return recorded<Recomputation>(inputs, std::move(function), activations.size());
}

}  // namespace patchdiff::unet
