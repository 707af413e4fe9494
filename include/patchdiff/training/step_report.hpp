// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// What a training step did; tensors stay on the device until the host reads them.
template <Backend B>
struct StepReport {
  PatchPlan plan{};
  std::vector<double> sigma{};    ///< noise level of each sample
  typename B::Tensor per_sample;  ///< [N], mean weighted squared error per pixel and channel of each sample
  std::optional<typename B::Tensor>
      finite{};  ///< [], 1 where loss and gradients were finite, else 0; set by the update
  std::optional<typename B::Tensor>
      gradient_norm{};   ///< [], of all gradients together, before clipping; set by the update where it clips
  bool skipped = false;  ///< whether the update was left out under `NonFinite::skip`

  /// Takes in the report of another part of the same step.
  void append(const StepReport& part) {
    sigma.insert(sigma.end(), part.sigma.begin(), part.sigma.end());
    per_sample = B::concat(std::array{per_sample, part.per_sample}, 0);
  }

  /// The step's loss: the mean weighted squared error per pixel and channel. Waits for the device.
  ///
  /// Errors: NumericError where loss or gradients were not finite and the step was not skipped.
  double loss() const {
    if (finite && !skipped && !B::read_flag(*finite)) throw not_finite();
    double sum = 0;
    const std::vector<double> losses = B::to_host(per_sample);
    for (const double loss : losses) sum += loss;
    return sum / static_cast<double>(losses.size());
  }

  /// The error that says which step was not finite.
  NumericError not_finite() const {
    double least = sigma.front(), most = sigma.front();
    for (const double level : sigma) {
      least = level < least ? level : least;
      most = level > most ? level : most;
    }
    return {"TrainStep", "loss and gradients", "finite values",
            str("others at step ", plan.step, " (patches of ", to_string(plan.patch), ", sigma ", shortened(least, 4),
                " to ", shortened(most, 4), ')')};
  }
};

}  // namespace patchdiff
