// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/backend/torch/torch_reason.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/torch/foreign_network.hpp>

namespace patchdiff {

/// A `torch::nn::Module` as a network: `call(module, input)` is how it is called.
///
/// The module's parameters are the weights under their own names; frozen ones and buffers are constants. Its training
/// mode is set at each call. `clone` copies it, so it has to be a `torch::nn::Cloneable`.
template <std::derived_from<torch::nn::Module> Module>
class ModuleNetwork : public ForeignNetwork<ModuleNetwork<Module>> {
 public:
  using Call = std::function<at::Tensor(Module& module, const NetworkInput& input)>;

  /// Moves the module to the device. Errors: ConfigError for no module, and a shape that cannot be.
  ModuleNetwork(std::shared_ptr<Module> module, NetworkShape shape, Call call, TorchDevice device = {})
      : ForeignNetwork<ModuleNetwork>(shape, "ModuleNetwork", device),
        module_(std::move(module)),
        call_(std::move(call)) {
    if (!module_) refuse<ConfigError>("ModuleNetwork", "module", "a module", "none");
    module_->to(device.device, device.scalar);
    for (const auto& item : module_->named_parameters()) this->add(item.key(), item.value());
    for (const auto& item : module_->named_buffers()) this->add(item.key(), item.value());
  }

  at::Tensor call(const NetworkInput& input) const {
    this->set_mode(*module_, input.pass.training);
    return call_(*module_, input);
  }

  /// Errors: ConfigError for a module that cannot be copied.
  ModuleNetwork clone() const {
    std::shared_ptr<Module> copy;
    try {
      copy = std::dynamic_pointer_cast<Module>(module_->clone());
    } catch (const std::exception& error) {
      refuse<ConfigError>("ModuleNetwork", "module", "a torch::nn::Cloneable", torch_reason(error));
    }
    if (!copy) {
      refuse<ConfigError>("ModuleNetwork", "module", "a torch::nn::Cloneable of its own class", "one of a base");
    }
    const auto values = module_->named_parameters();
    for (auto& item : copy->named_parameters()) item.value().set_requires_grad(values[item.key()].requires_grad());
    return {std::move(copy), this->shape(), call_, this->device()};
  }

 private:
  std::shared_ptr<Module> module_;
  Call call_;
};

}  // namespace patchdiff
