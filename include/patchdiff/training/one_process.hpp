// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <patchdiff/core/share.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// How a Trainer's steps are shared among processes: not at all. GradientSum has the same members for several.
struct OneProcess {
  /// The samples of a step that this process works on.
  Share share(const PatchPlan& plan) const noexcept { return {0, plan.images}; }

  /// Says that the gradients that come next are the step's last.
  void last_part() const noexcept {}

  /// Makes gradients and report those of the whole step.
  template <class Step, class Report>
  void finish(const Step&, Report&) const noexcept {}
};

}  // namespace patchdiff
