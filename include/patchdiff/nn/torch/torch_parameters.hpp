// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include <patchdiff/backend/torch/torch_backend.hpp>

namespace patchdiff {

namespace unet {
struct WeightMaker;
}

/// The weights and constants of a LibTorch network by name, in the order in which they were added.
///
/// A base: layers hold tensors that share what is kept here.
class TorchParameters {
 public:
  using Backend = TorchBackend;
  using Tensor = at::Tensor;

  /// Calls `visit(name, value, gradient)` for each weight; gradients that do not exist yet are made, as zeros.
  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    for (auto& [name, value] : parameters_) {
      Tensor& gradient = value.mutable_grad();
      if (!gradient.defined()) gradient = at::zeros_like(value);
      visit(std::string_view(name), value, gradient);
    }
  }

  /// Calls `visit(name, value)` for each weight, then for each constant.
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
  friend unet::WeightMaker;

  /// The device is kept as its tensors name it: cuda's current one is cuda:0, say.
  explicit TorchParameters(TorchDevice device) : device_(TorchBackend::device(at::empty({0}, device.options()))) {}
  TorchParameters(TorchParameters&&) noexcept = default;
  TorchParameters& operator=(TorchParameters&&) noexcept = default;
  ~TorchParameters() = default;

  /// Whether it is a weight or a constant already, under whatever name.
  bool has(const Tensor& tensor) const {
    const auto is_it = [&](const auto& known) { return known.second.is_same(tensor); };
    return std::any_of(parameters_.begin(), parameters_.end(), is_it) ||
           std::any_of(buffers_.begin(), buffers_.end(), is_it);
  }

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
  void copy_state(const TorchParameters& other) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].second.copy_(other.parameters_[i].second);
    for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].second.copy_(other.buffers_[i].second);
  }

 private:
  TorchDevice device_;
  std::vector<std::pair<std::string, Tensor>> parameters_;
  std::vector<std::pair<std::string, Tensor>> buffers_;
};

}  // namespace patchdiff
