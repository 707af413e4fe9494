// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/parallel/bucketed_sum.hpp>
#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/process_group.hpp>
#include <patchdiff/parallel/torch/torch_buffer.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/training/step_report.hpp>
#include <patchdiff/training/train_step.hpp>

namespace patchdiff {

/// A GradientSum that sends gradients while LibTorch's autograd still makes others.
///
/// Wherever GradientSum is taken, with the same result. `last_part` must come before the step's last backward.
template <class D, ProcessGroup G>
class AutogradSum {
 public:
  /// Both must outlive this, and the denoiser must keep its place. Errors: ConfigError for settings that cannot work.
  AutogradSum(D& denoiser, G& group, BucketOptions options = {}) : sum_(denoiser, group, options) {
    std::size_t parameter = 0;
    denoiser.visit_parameters([&](auto, at::Tensor& value, at::Tensor&) {
      const std::size_t index = parameter++;
      if (!value.requires_grad()) return;
      // A variable alone would forget its accumulator, and the hook with it.
      auto accumulator = ::torch::autograd::impl::grad_accumulator(value);
      const auto key = accumulator->add_post_hook(std::make_unique<Hook>(*this, index, value));
      hooked_.emplace_back(std::move(accumulator), key);
    });
  }

  AutogradSum(const AutogradSum&) = delete;
  AutogradSum& operator=(const AutogradSum&) = delete;

  ~AutogradSum() {
    for (const auto& [accumulator, key] : hooked_) accumulator->del_post_hook(key);
  }

  Share share(const PatchPlan& plan) const { return sum_.share(plan); }

  /// Says that the gradients that come next are the step's last, and may be sent.
  void last_part() noexcept { sending_ = true; }

  /// Adds up the gradients, and makes the report that of all samples of the step. Errors: ProcessError.
  void finish(const TrainStep<TorchBackend>& step, StepReport<TorchBackend>& report) {
    sending_ = false;
    sum_.finish(step, report);
  }

  /// The sum in use.
  const BucketedSum<TorchBackend, G>& gradients() const noexcept { return sum_.gradients(); }

 private:
  /// Called when a parameter's gradient is whole, by the thread of its device.
  class Hook : public ::torch::autograd::FunctionPostHook {
   public:
    Hook(AutogradSum& owner, std::size_t parameter, const at::Tensor& value)
        : owner_(&owner), parameter_(parameter), value_(value) {}

    ::torch::autograd::variable_list operator()(const ::torch::autograd::variable_list& outputs,
                                                const ::torch::autograd::variable_list&) override {
      if (owner_->sending_) {
        const std::lock_guard lock(owner_->mutex_);
        owner_->sum_.add(parameter_, value_.grad());
      }
      return outputs;
    }

   private:
    AutogradSum* owner_;
    std::size_t parameter_;
    at::Tensor value_;
  };

  /// A counting pointer, of a kind that depends on LibTorch's version.
  using Accumulator = decltype(::torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()));

  GradientSum<D, G> sum_;
  std::vector<std::pair<Accumulator, std::uintptr_t>> hooked_{};
  std::mutex mutex_{};
  bool sending_ = false;
};

}  // namespace patchdiff
