// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace patchdiff::unet {

/// A differentiable function that must give the same whenever it is called.
using Recomputable = std::function<at::Tensor()>;

struct RecomputeFunction : ::torch::autograd::Function<RecomputeFunction> {
  struct Kept : ::torch::CustomClassHolder {
    explicit Kept(Recomputable f) : function(std::move(f)) {}
    Recomputable function;
  };

  static at::Tensor forward(::torch::autograd::AutogradContext* context, const Recomputable& function,
                            at::TensorList inputs) {
    context->saved_data["function"] = c10::IValue::make_capsule(c10::make_intrusive<Kept>(function));
    context->save_for_backward(inputs.vec());
    return function();
  }

  static ::torch::autograd::variable_list backward(::torch::autograd::AutogradContext* context,
                                                   const ::torch::autograd::variable_list& gradients) {
    const bool differentiable = at::GradMode::is_enabled();
    const ::torch::autograd::variable_list inputs = context->get_saved_variables();
    ::torch::autograd::variable_list wanted, result(inputs.size() + 1);
    for (const at::Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    at::Tensor output;
    {
      const at::AutoGradMode with_gradients(true);
      output = static_cast<const Kept&>(*context->saved_data["function"].toCapsule()).function();
    }
    const ::torch::autograd::variable_list found =
        ::torch::autograd::grad({output}, wanted, gradients, differentiable, differentiable, /*allow_unused=*/true);
    for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
      if (inputs[i].requires_grad()) result[i + 1] = found[next++];
    }
    return result;
  }
};

/// Calls `function` and keeps none of what its backward needs: that calls it again.
///
/// `inputs` are all tensors that it reads and that may want a gradient: it must read these, not copies of them.
/// Cost: memory of the inputs and the result; each backward costs one more call.
inline at::Tensor recomputed(const Recomputable& function, const std::vector<at::Tensor>& inputs) {
  return RecomputeFunction::apply(function, at::TensorList(inputs));
}

}  // namespace patchdiff::unet
