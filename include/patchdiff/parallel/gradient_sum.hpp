// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/parallel/bucketed_sum.hpp>
#include <patchdiff/parallel/process_group.hpp>
#include <patchdiff/parallel/sum_losses.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/training/step_report.hpp>
#include <patchdiff/training/train_step.hpp>

namespace patchdiff {

/// Makes one training step of what the processes of a group did of it: each its share of the samples.
///
/// Losses are divided by the images of the whole step, so gradients of shares add up to those of one process, and all
/// processes take the same step. A Trainer takes it as its last argument; a host's own loop calls `share`, then
/// `TrainStep::gradients`, `finish` and `TrainStep::update`.
template <class D, ProcessGroup G>
class GradientSum {
 public:
  using B = typename D::Backend;

  /// Both must outlive this. Errors: ConfigError for settings that cannot work.
  GradientSum(D& denoiser, G& group, BucketOptions options = {})
      : denoiser_(&denoiser), group_(&group), gradients_(group, denoiser, options) {}

  /// The samples of a step that this process works on; none where there are fewer than processes.
  Share share(const PatchPlan& plan) const { return share_of(plan.images, group_->rank(), group_->size()); }

  /// Says that the gradients that come next are the step's last.
  void last_part() const noexcept {}

  /// Sends a parameter's gradient, which is whole, before the others are; `finish` sends those that were not.
  ///
  /// Parameters are numbered as they are visited. Errors: as of BucketedSum.
  void add(std::size_t parameter, const typename B::Tensor& gradient) { gradients_.add(parameter, gradient); }

  /// Adds up the gradients, and makes the report that of all samples of the step.
  ///
  /// Errors: ProcessError; what was summed is then of no use.
  void finish(const TrainStep<B>& step, StepReport<B>& report) {
    gradients_.finish(*denoiser_);
    sum_losses(*group_, *denoiser_, step, share(report.plan), report);
  }

  const BucketedSum<B, G>& gradients() const noexcept { return gradients_; }

 private:
  D* denoiser_;
  G* group_;
  BucketedSum<B, G> gradients_;
};

}  // namespace patchdiff
