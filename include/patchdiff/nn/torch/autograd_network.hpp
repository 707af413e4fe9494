// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>

namespace patchdiff {

/// Tensors by name, in the order in which they were added.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Base of LibTorch networks whose backward is LibTorch's autograd.
///
/// `Derived` has `at::Tensor forward(input, c_noise, conditioning, pass) const`, made of differentiable operators, and
/// adds its weights with `add_parameter` and its constants with `add_buffer`.
template <class Derived>
class AutogradNetwork {
 public:
  using Backend = TorchBackend;
  using Tensor = at::Tensor;

  struct Record {
    Tensor output;  ///< without history
    Tensor root;    ///< with history
    Tensor input;
  };

  /// Runs the network without gradients.
  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                    const Pass& pass) const {
    const at::NoGradGuard no_grad;
    return run(input, c_noise, conditioning, pass);
  }

  Record record(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                const Pass& pass) {
    const at::AutoGradMode with_gradients(true);
    const Tensor leaf = pass.input_gradient ? input.detach().requires_grad_() : input.detach();
    const Tensor root = run(leaf, c_noise, conditioning, pass);
    return {root.detach(), root, leaf};
  }

  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) {
    ::torch::autograd::backward({record.root}, {cotangent});
    if (!record.input.requires_grad()) return std::nullopt;
    return record.input.grad();
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    for (auto& [name, value] : parameters_) {
      Tensor& gradient = value.mutable_grad();
      if (!gradient.defined()) gradient = at::zeros_like(value);
      visit(std::string_view(name), value, gradient);
    }
  }

  template <class Visitor>
  void visit_state(Visitor&& visit) {
    for (auto& [name, value] : parameters_) visit(std::string_view(name), value);
    for (auto& [name, value] : buffers_) visit(std::string_view(name), value);
  }

  /// The weights, for LibTorch's own optimisers.
  std::vector<Tensor> parameters() const {
    std::vector<Tensor> values;
    for (const auto& [name, value] : parameters_) values.push_back(value);
    return values;
  }

  TorchDevice device() const noexcept { return device_; }

 protected:
  explicit AutogradNetwork(TorchDevice device) : device_(device) {}
  AutogradNetwork(AutogradNetwork&&) noexcept = default;
  AutogradNetwork& operator=(AutogradNetwork&&) noexcept = default;
  ~AutogradNetwork() = default;

  /// Makes the tensor a weight; the result shares it.
  Tensor add_parameter(std::string name, Tensor value) {
    value.set_requires_grad(true);
    parameters_.emplace_back(std::move(name), value);
    return value;
  }

  Tensor add_buffer(std::string name, Tensor value) {
    buffers_.emplace_back(std::move(name), value);
    return value;
  }

  /// Gives this network the other one's values.
  void copy_state(const AutogradNetwork& other) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].second.copy_(other.parameters_[i].second);
    for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].second.copy_(other.buffers_[i].second);
  }

 private:
  Tensor run(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
             const Pass& pass) const {
    const AutocastGuard autocast(device_.device.type(), pass.precision);
    return static_cast<const Derived&>(*this).forward(input, c_noise, conditioning, pass).to(device_.scalar);
  }

  TorchDevice device_;
  NamedTensors parameters_;
  NamedTensors buffers_;
};

}  // namespace patchdiff
