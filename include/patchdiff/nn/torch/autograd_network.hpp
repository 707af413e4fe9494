// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>
#include <patchdiff/nn/torch/torch_parameters.hpp>

namespace patchdiff {

/// Base of LibTorch networks whose backward is LibTorch's autograd.
///
/// `Derived` has `at::Tensor forward(input, c_noise, conditioning, pass) const`, made of differentiable operators, and
/// adds its weights with `add_parameter` and its constants with `add_buffer`.
template <class Derived>
class AutogradNetwork : public TorchParameters {
 public:
  /// What backward needs: LibTorch's graph, behind the output.
  struct Record {
    Tensor output;  ///< without history
    Tensor root;    ///< with history
    Tensor input;
    bool parameter_gradients = true;
  };

  /// Runs the network without gradients, unless the input asks for one: the result of an input that `requires_grad()`
  /// has a history, which reaches input and weights. So samples can be differentiated by the noise they come from.
  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                    const Pass& pass) const {
    const at::AutoGradMode with_gradients(at::GradMode::is_enabled() && input.requires_grad());
    return run(input, c_noise, conditioning, pass);
  }

  Record record(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                const Pass& pass) {
    const at::AutoGradMode with_gradients(true);
    const Tensor leaf = pass.input_gradient ? input.detach().requires_grad_() : input.detach();
    const Tensor root = run(leaf, c_noise, conditioning, pass);
    return {root.detach(), root, leaf, pass.parameter_gradients};
  }

  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) {
    if (!record.parameter_gradients) {
      if (!record.input.requires_grad()) return std::nullopt;
      return ::torch::autograd::grad({record.root}, {record.input}, {cotangent}, /*retain_graph=*/true).front();
    }
    if (!record.root.requires_grad()) {
      refuse<ConfigError>("AutogradNetwork", "backward", "weights that ask for gradients", "none");
    }
    ::torch::autograd::backward({record.root}, {cotangent});
    if (!record.input.requires_grad()) return std::nullopt;
    return record.input.grad();
  }

 protected:
  using TorchParameters::TorchParameters;
  AutogradNetwork(AutogradNetwork&&) noexcept = default;
  AutogradNetwork& operator=(AutogradNetwork&&) noexcept = default;
  ~AutogradNetwork() = default;

 private:
  Tensor run(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
             const Pass& pass) const {
    const AutocastGuard autocast(device().device.type(), pass.precision);
    return static_cast<const Derived&>(*this).forward(input, c_noise, conditioning, pass).to(device().scalar);
  }
};

}  // namespace patchdiff
