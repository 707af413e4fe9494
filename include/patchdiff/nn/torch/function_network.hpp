// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/nn/torch/foreign_network.hpp>

namespace patchdiff {

/// A plain function of weights and input as a network; differentiable operators are all that it needs to be trained.
class FunctionNetwork : public ForeignNetwork<FunctionNetwork> {
 public:
  using Weights = std::vector<std::pair<std::string, at::Tensor>>;
  using Function = std::function<at::Tensor(const std::vector<at::Tensor>& weights, const NetworkInput& input)>;

  /// The weights are handed to the function in their order; those that ask for no gradient stay as they are.
  ///
  /// Errors: ConfigError for a shape that cannot be.
  FunctionNetwork(Weights weights, NetworkShape shape, Function function, TorchDevice device = {})
      : ForeignNetwork(shape, "FunctionNetwork", device), function_(std::move(function)) {
    for (auto& [name, value] : weights) {
      const bool trained = value.requires_grad();
      weights_.push_back(value.detach().to(device.options(), /*non_blocking=*/false, /*copy=*/true));
      weights_.back().set_requires_grad(trained);
      names_.push_back(name);
      add(name, weights_.back());
    }
  }

  at::Tensor call(const NetworkInput& input) const { return function_(weights_, input); }

  FunctionNetwork clone() const {
    Weights weights;
    for (std::size_t at = 0; at < names_.size(); ++at) weights.emplace_back(names_[at], weights_[at]);
    return {std::move(weights), shape(), function_, device()};
  }

 private:
  std::vector<std::string> names_;
  std::vector<at::Tensor> weights_;
  Function function_;
};

}  // namespace patchdiff
