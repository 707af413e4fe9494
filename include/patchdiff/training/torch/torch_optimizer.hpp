// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

namespace patchdiff {

/// Any of LibTorch's optimisers as an optimiser of TrainStep.
///
/// It moves the parameters that it was made for, `network.parameters()`. LibTorch's optimisers know no flag, so a step
/// cannot be guarded with one: use `NonFinite::fail` or `NonFinite::skip`.
class TorchOptimizer {
 public:
  static constexpr bool obeys_flag = false;

  explicit TorchOptimizer(std::unique_ptr<::torch::optim::Optimizer> optimizer) : optimizer_(std::move(optimizer)) {}

  template <class Net>
  void step(Net&, const at::Tensor&) {
    optimizer_->step();
  }

  /// Sets the rate of every parameter group.
  void set_learning_rate(double rate) {
    for (::torch::optim::OptimizerParamGroup& group : optimizer_->param_groups()) group.options().set_lr(rate);
  }

  const ::torch::optim::Optimizer& optimizer() const noexcept { return *optimizer_; }

 private:
  std::unique_ptr<::torch::optim::Optimizer> optimizer_;
};

}  // namespace patchdiff
