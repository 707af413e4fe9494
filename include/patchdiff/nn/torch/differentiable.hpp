// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/intrusive_ptr.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/core/error.hpp>

namespace patchdiff::unet {

using Variables = ::torch::autograd::variable_list;

/// A tensor computed of tensors, with a gradient of its own; one object is one call, and keeps what its gradient needs.
///
/// It is the node that LibTorch's autograd records; the template `torch::autograd::Function` would make each host
/// compile a node, and a table of what is kept, of its own.
class Differentiable : public ::torch::autograd::Node {
 public:
  /// Called without a record.
  virtual at::Tensor forward(const Variables& inputs) = 0;

  /// A gradient of each input, undefined where none is wanted (`task_should_compute_output`). Where gradients are
  /// recorded (`at::GradMode`), they must be differentiable themselves.
  ///
  /// `inputs` are those of `forward`, or none where they are not kept.
  virtual Variables backward(const Variables& inputs, const at::Tensor& cotangent) = 0;

  virtual bool keeps_inputs() const { return true; }

  /// Keeps what a recorded call needs. Backward then fails by LibTorch's own errors where an input was changed since,
  /// and where it runs a second time without being told so at the first.
  void keep(const Variables& inputs) {
    if (!keeps_inputs()) return;
    for (const at::Tensor& input : inputs) kept_.emplace_back(input, /*is_output=*/false);
  }

  void release_variables() override {
    const std::lock_guard lock(mutex_);
    for (::torch::autograd::SavedVariable& each : kept_) each.reset_data();
  }

 protected:
  Variables apply(Variables&& cotangents) override {
    if (!cotangents.front().defined()) return Variables(num_outputs());  // zero
    Variables inputs;
    {
      const std::lock_guard lock(mutex_);
      for (const ::torch::autograd::SavedVariable& each : kept_) inputs.push_back(each.unpack());
    }
    return backward(inputs, cotangents.front());
  }

 private:
  std::vector<::torch::autograd::SavedVariable> kept_{};
};

/// What LibTorch holds nodes by: std::shared_ptr or, in later versions, c10::intrusive_ptr.
using NodePointer = decltype(::torch::autograd::Edge::function);

/// A node of the given class; long chains of nodes are taken apart without recursion.
template <class Operation, class... Arguments>
NodePointer make_node(Arguments&&... arguments) {
  if constexpr (std::is_same_v<NodePointer, std::shared_ptr<::torch::autograd::Node>>) {
    return {new Operation(std::forward<Arguments>(arguments)...), [](Operation* node) { deleteNode(node); }};
  } else {
    return c10::make_intrusive<Operation>(std::forward<Arguments>(arguments)...);
  }
}

/// Calls an operation, on record where gradients are.
///
/// Errors: ConfigError for inputs with tangents, as forward derivatives are not there.
inline at::Tensor called(const NodePointer& node, const Variables& inputs) {
  auto& operation = static_cast<Differentiable&>(*node);
  if (::torch::autograd::isFwGradDefinedTensorList(at::TensorList(inputs))) {
    refuse<ConfigError>("unet", "inputs", "tensors without tangents", "a tensor with one");
  }
  at::Tensor result;
  {
    const at::AutoGradMode off(false);
    result = operation.forward(inputs);
  }
  if (!at::GradMode::is_enabled() || !::torch::autograd::any_variable_requires_grad(inputs)) return result;
  operation.keep(inputs);
  const auto behind = [&](::torch::autograd::edge_list&& edges) {
    node->set_next_edges(std::move(edges));
    return node;
  };
  return ::torch::autograd::wrap_outputs(inputs, {result}, behind).front();
}

/// The result of an `Operation` of the inputs.
template <class Operation, class... Arguments>
at::Tensor recorded(const Variables& inputs, Arguments&&... arguments) {
  return called(make_node<Operation>(std::forward<Arguments>(arguments)...), inputs);
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
