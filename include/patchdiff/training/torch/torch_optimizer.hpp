// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// Any of LibTorch's optimisers as an optimiser of TrainStep.
///
/// It moves the parameters that it was made for, `network.parameters()`. LibTorch's optimisers know no flag, so a step
/// cannot be guarded with one: use `NonFinite::fail` or `NonFinite::skip`.
class TorchOptimizer {
 public:
  static constexpr bool obeys_flag = false;

  /// Errors: ConfigError for a null pointer.
  explicit TorchOptimizer(std::unique_ptr<::torch::optim::Optimizer> optimizer) : optimizer_(std::move(optimizer)) {
    if (!optimizer_) refuse<ConfigError>("TorchOptimizer", "optimizer", "an optimiser", "null");
  }

  /// Errors: ConfigError where the optimiser was made for none of the network's parameters, as where the network is a
  /// clone.
  template <class Net>
  void step(Net& net, const at::Tensor&) {
    bool moves = false;
    net.visit_parameters([&](std::string_view, at::Tensor& value, at::Tensor&) { moves = moves || holds(value); });
    if (!moves) refuse<ConfigError>("TorchOptimizer", "net", "parameters that the optimiser was made for", "others");
    optimizer_->step();
  }

  /// Sets the rate of every parameter group. Errors: ConfigError for one that is negative or not finite.
  void set_learning_rate(double rate) {
    require<ConfigError>(rate >= 0 && std::isfinite(rate), "TorchOptimizer", "learning_rate", "a finite value >= 0",
                         rate);
    for (::torch::optim::OptimizerParamGroup& group : optimizer_->param_groups()) group.options().set_lr(rate);
  }

  const ::torch::optim::Optimizer& optimizer() const noexcept { return *optimizer_; }

 private:
  bool holds(const at::Tensor& value) const {
    const auto& groups = optimizer_->param_groups();
    return std::any_of(groups.begin(), groups.end(), [&](const ::torch::optim::OptimizerParamGroup& group) {
      const std::vector<at::Tensor>& all = group.params();
      return std::any_of(all.begin(), all.end(), [&](const at::Tensor& held) { return held.is_same(value); });
    });
  }

  std::unique_ptr<::torch::optim::Optimizer> optimizer_;
};

}  // namespace patchdiff
