// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>

#include <patchdiff/backend/torch/autograd.hpp>

namespace patchdiff::unet {

using ::torch::autograd::AutogradContext;
using Variables = ::torch::autograd::variable_list;

/// What is computed of tensors, with a gradient of its own; one object is one call, and keeps what its gradient needs.
///
/// LibTorch's `autograd::Function` is a template that each such class would fill anew; here `Recorded` fills it once
/// for all, which hosts compile faster.
struct Differentiable : ::torch::CustomClassHolder {
  /// Called without a record; the inputs that `backward` needs go into the context.
  virtual at::Tensor forward(AutogradContext& context, const Variables& inputs) = 0;

  /// A gradient of each input, undefined where none is wanted. Where gradients are recorded (`at::GradMode`), they must
  /// be differentiable themselves.
  virtual Variables backward(AutogradContext& context, const at::Tensor& cotangent) = 0;
};

/// An operation as LibTorch's autograd sees it.
struct Recorded : ::torch::autograd::Function<Recorded> {
  static at::Tensor forward(AutogradContext* context, const c10::intrusive_ptr<Differentiable>& operation,
                            at::TensorList inputs) {
    context->saved_data["operation"] = c10::IValue::make_capsule(operation);
    return operation->forward(*context, inputs.vec());
  }

  static Variables backward(AutogradContext* context, const Variables& cotangents) {
    const auto operation = context->saved_data["operation"].toCapsule();
    const Variables found = static_cast<Differentiable&>(*operation).backward(*context, cotangents.front());
    Variables result(1);  // the operation is an argument too
    result.insert(result.end(), found.begin(), found.end());
    return result;
  }
};

/// The result of an operation, on record where gradients are.
inline at::Tensor recorded(c10::intrusive_ptr<Differentiable> operation, const Variables& inputs) {
  return Recorded::apply(operation, at::TensorList(inputs));
}

/// Gradients of f by LibTorch's autograd, differentiable where gradients are recorded.
///
/// f is given all inputs, but may read those from `passed` on by itself, as a layer its weights.
inline Variables autograd_gradients(const std::function<at::Tensor(const Variables&)>& f, Variables inputs,
                                    std::size_t passed, const at::Tensor& cotangent) {
  const bool differentiable = at::GradMode::is_enabled();
  at::Tensor output;
  {
    const at::AutoGradMode with_gradients(true);
    // Aliases, as one input may have been computed from another: gradients must stop at these.
    for (std::size_t i = 0; i < passed; ++i) inputs[i] = inputs[i].view_as(inputs[i]);
    output = f(inputs);
  }
  Variables wanted, result(inputs.size());
  for (const at::Tensor& input : inputs) {
    if (input.requires_grad()) wanted.push_back(input);
  }
  const Variables found =
      ::torch::autograd::grad({output}, wanted, {cotangent}, differentiable, differentiable, /*allow_unused=*/true);
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (inputs[i].requires_grad()) result[i] = found[next++];
  }
  return result;
}

}  // namespace patchdiff::unet
