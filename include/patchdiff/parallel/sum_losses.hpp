// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/parallel/host_buffer.hpp>
#include <patchdiff/parallel/process_group.hpp>
#include <patchdiff/training/step_report.hpp>
#include <patchdiff/training/train_step.hpp>

namespace patchdiff {

/// Makes the report of a share that of the whole step, on every process.
///
/// Each process adds its losses at their places among zeros: one small message, and whether a loss is finite is the
/// same everywhere. Noise levels are drawn again. Errors: ProcessError.
template <ProcessGroup G, class D, Backend B>
void sum_losses(G& group, const D& denoiser, const TrainStep<B>& step, const Share& share, StepReport<B>& report) {
  const auto device = B::device(report.per_sample);
  // Not given back where the sum fails, as it may still be written to.
  auto losses = std::make_unique<MessageBuffer<B>>(report.plan.images, device);
  losses->set_zero();
  if (share.count > 0) losses->write(static_cast<std::int64_t>(share.first), report.per_sample);
  typename G::Sum sum = losses->start_sum(group);
  try {
    losses->wait(group, sum, "sum of losses");
  } catch (...) {
    static_cast<void>(losses.release());
    throw;
  }
  report.per_sample = B::zeros({report.plan.images}, device);
  losses->read(0, report.per_sample);
  report.sigma = step.sigma(denoiser, report.plan);
}

}  // namespace patchdiff
