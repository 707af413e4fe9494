// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/training/loss_scaling.hpp>

namespace patchdiff {

/// Settings of the usual dynamic loss scale (Micikevicius et al., arXiv 1710.03740, section 3.2).
struct LossScaleOptions {
  double initial = 65536;               ///< a power of two, so that scaling loses nothing
  double growth = 2;                    ///< factor after `growth_interval` finite steps, a power of two
  double backoff = 0.5;                 ///< factor after a step that was not finite, a power of two
  std::int64_t growth_interval = 2000;  ///< finite steps in a row
  double largest = 16777216;            ///< bound of the scale; the least is 1
};

/// The dynamic loss scale of training in float16.
///
/// The scale and the count of finite steps stay on the device, and nothing reads them: under `NonFinite::guarded` a
/// step waits for nothing. A checkpoint holds both as another part (`CheckpointParts::add("loss_scale", scale)`).
class LossScale {
 public:
  using Backend = TorchBackend;
  using Tensor = at::Tensor;

  /// Errors: ConfigError for settings that cannot work.
  explicit LossScale(LossScaleOptions options = {}, TorchDevice device = {}) : options_(options) {
    const auto power_of_two = [](double value) {
      int exponent = 0;
      return std::isfinite(value) && value > 0 && std::frexp(value, &exponent) == 0.5;
    };
    constexpr std::string_view component = "LossScale";
    require<ConfigError>(power_of_two(options.largest) && options.largest >= 1, component, "largest",
                         "a power of two >= 1", options.largest);
    require<ConfigError>(power_of_two(options.initial) && options.initial >= 1 && options.initial <= options.largest,
                         component, "initial", str("a power of two in [1, ", options.largest, ']'), options.initial);
    require<ConfigError>(power_of_two(options.growth) && options.growth > 1, component, "growth", "a power of two > 1",
                         options.growth);
    require<ConfigError>(power_of_two(options.backoff) && options.backoff < 1, component, "backoff",
                         "a power of two < 1", options.backoff);
    require<ConfigError>(options.growth_interval >= 1, component, "growth_interval", "at least 1",
                         options.growth_interval);
    const auto on_device = at::TensorOptions(device.device).dtype(at::kFloat);
    scale_ = at::full({}, options.initial, on_device);
    finite_steps_ = at::zeros({}, on_device);
  }

  LossScale(LossScale&&) noexcept = default;  // a copy would share tensors
  LossScale& operator=(LossScale&&) noexcept = default;
  ~LossScale() = default;

  /// The gradient of the loss as backward should start from it.
  Tensor scaled(const Tensor& cotangent) const { return cotangent * scale_.to(cotangent.scalar_type()); }

  /// Brings a parameter's gradient back to its own scale; what overflowed stays not finite.
  void unscale(Tensor& gradient) const {
    const at::NoGradGuard no_grad;
    gradient.mul_(scale_.reciprocal().to(gradient.scalar_type()));
  }

  /// Moves the scale after a step; `finite` [] is 1 where its gradients were finite, else 0.
  void update(const Tensor& finite) {
    const at::NoGradGuard no_grad;
    const Tensor flag = finite.to(at::kFloat);
    finite_steps_.add_(1).mul_(flag);
    const Tensor grows = finite_steps_.ge(static_cast<double>(options_.growth_interval)).to(at::kFloat);
    scale_.mul_(flag * (1 - options_.backoff) + options_.backoff).mul_(grows * (options_.growth - 1) + 1);
    scale_.clamp_(1, options_.largest);
    finite_steps_.mul_(1 - grows);
  }

  /// The scale and the count of finite steps since it moved.
  template <class F>
  void visit_state(F&& f) {
    f("scale", scale_);
    f("finite_steps", finite_steps_);
  }

  /// The scale now. Waits for the device.
  double value() const { return scale_.item<float>(); }

 private:
  LossScaleOptions options_;
  Tensor scale_;
  Tensor finite_steps_;
};

static_assert(LossScaling<LossScale, TorchBackend>, "LossScale does not fit the concept LossScaling");

}  // namespace patchdiff
