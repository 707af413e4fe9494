// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>

#include <patchdiff/backend/torch/autograd.hpp>

namespace patchdiff::unet {

/// A differentiable function of activations that must give the same whenever it is called with the same.
using Recomputable = std::function<at::Tensor(at::TensorList activations)>;

struct RecomputeFunction : ::torch::autograd::Function<RecomputeFunction> {
  using Variables = ::torch::autograd::variable_list;

  struct Kept : ::torch::CustomClassHolder {
    Kept(Recomputable f, std::size_t activation_count) : function(std::move(f)), activations(activation_count) {}
    Recomputable function;
    std::size_t activations;
  };

  static at::Tensor forward(::torch::autograd::AutogradContext* context, const Recomputable& function,
                            at::TensorList activations, at::TensorList weights) {
    context->saved_data["kept"] = c10::IValue::make_capsule(c10::make_intrusive<Kept>(function, activations.size()));
    Variables inputs = activations.vec();
    inputs.insert(inputs.end(), weights.begin(), weights.end());
    context->save_for_backward(std::move(inputs));
    return function(activations);
  }

  static Variables backward(::torch::autograd::AutogradContext* context, const Variables& gradients) {
    const bool differentiable = at::GradMode::is_enabled();
    const auto capsule = context->saved_data["kept"].toCapsule();
    const Kept& kept = static_cast<const Kept&>(*capsule);
    Variables inputs = context->get_saved_variables();
    at::Tensor output;
    {
      const at::AutoGradMode with_gradients(true);
      // Aliases, as one activation may have been computed from another: gradients must stop at this function's inputs.
      for (std::size_t i = 0; i < kept.activations; ++i) inputs[i] = inputs[i].view_as(inputs[i]);
      output = kept.function(at::TensorList(inputs).slice(0, kept.activations));
    }
    Variables wanted, result(inputs.size() + 1);  // the function itself is an input too
    for (const at::Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    const Variables found =
        ::torch::autograd::grad({output}, wanted, gradients, differentiable, differentiable, /*allow_unused=*/true);
    for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
      if (inputs[i].requires_grad()) result[i + 1] = found[next++];
    }
    return result;
  }
};

/// Calls `function` and keeps none of what its backward needs: that calls it again.
///
/// `weights` are all other tensors that the function reads and that may want a gradient.
/// Cost: memory of the activations and the result; each backward costs one more call.
inline at::Tensor recomputed(const Recomputable& function, const std::vector<at::Tensor>& activations,
                             const std::vector<at::Tensor>& weights) {
  return RecomputeFunction::apply(function, at::TensorList(activations), at::TensorList(weights));
}

}  // namespace patchdiff::unet
