// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/training/loss_scaling.hpp>
#include <patchdiff/training/one_process.hpp>
#include <patchdiff/training/optimizer.hpp>
#include <patchdiff/training/step_report.hpp>
#include <patchdiff/training/train_step.hpp>

namespace patchdiff {

/// Settings of a Trainer.
struct TrainerOptions {
  TrainStepOptions step;
  /// Images of a full-size step that a process works on at once, >= 1; smaller patches take their multiplier more.
  /// Absent: all. The gradients of the parts add up, so only memory and time depend on it.
  std::optional<std::int64_t> micro_batch{};
  std::function<double(std::uint64_t)> learning_rate{};  ///< by the images seen so far; absent: the optimiser's own
  std::uint64_t max_consecutive_skips = 10;              ///< more under `NonFinite::skip` are an error
};

/// A run of training steps over a model, an optimiser, a loader and a state, all of which the host owns.
///
/// The loader hands out `take(plan, first_sample, count)`: images or patches of a part of a step. Averages, logs and
/// checkpoints are what the host does after a step. `Processes` shares the steps among several processes, as
/// GradientSum does; each of them then has a Trainer, and gets the report of the whole step. Training in float16 takes
/// a loss scale, an equal one in each process.
template <class D, class O, class Loader, class Processes = const OneProcess, class Scaling = const NoLossScaling>
  requires Optimizer<O, D>
class Trainer {
 public:
  using Backend = typename D::Backend;

  /// All but the options must outlive this. Errors: ConfigError for settings that cannot work.
  Trainer(D& denoiser, O& optimizer, Loader& loader, TrainState& state,
          TrainerOptions options) requires std::same_as<Processes, const OneProcess>
      : Trainer(denoiser, optimizer, loader, state, std::move(options), one_process) {}

  Trainer(D& denoiser, O& optimizer, Loader& loader, TrainState& state, TrainerOptions options,
          Processes& processes) requires std::same_as<Scaling, const NoLossScaling>
      : Trainer(denoiser, optimizer, loader, state, std::move(options), processes, no_scaling) {}

  Trainer(D& denoiser, O& optimizer, Loader& loader, TrainState& state, TrainerOptions options, Processes& processes,
          Scaling& scaling)
      : denoiser_(&denoiser),
        optimizer_(&optimizer),
        loader_(&loader),
        state_(&state),
        processes_(&processes),
        scaling_(&scaling),
        options_(std::move(options)),
        step_(options_.step) {
    if (options_.micro_batch && *options_.micro_batch < 1) {
      refuse<ConfigError>("Trainer", "micro_batch", "at least 1", str(*options_.micro_batch));
    }
  }

  /// Takes one step.
  ///
  /// Errors: as of TrainStep and the loader; NumericError where too many steps in a row were not finite.
  StepReport<Backend> step() {
    if (options_.learning_rate) optimizer_->set_learning_rate(options_.learning_rate(state_->images));
    const PatchPlan plan = step_.plan(*state_);
    const std::int64_t batch = options_.step.batch;
    const std::int64_t at_once = std::min(options_.micro_batch.value_or(batch), batch) * (plan.images / batch);
    zero_gradients(*denoiser_);
    StepReport<Backend> report = share_of_step(plan, at_once);
    processes_->finish(step_, report);
    step_.update(*denoiser_, *optimizer_, report, *state_, *scaling_);
    skips_ = report.skipped ? skips_ + 1 : 0;
    if (skips_ > options_.max_consecutive_skips) {
      refuse<NumericError>("Trainer", "max_consecutive_skips", str("at most ", options_.max_consecutive_skips),
                           str(skips_, " in a row: ", report.not_finite().what()));
    }
    return report;
  }

  /// Takes steps until the state has seen that many images, or `callback(report)` returns Flow::stop after one.
  template <std::invocable<const StepReport<Backend>&> F>
  void run(std::uint64_t images, F&& callback) {
    while (state_->images < images) {
      if (callback(step()) == Flow::stop) return;
    }
  }

  const TrainStep<Backend>& train_step() const noexcept { return step_; }

 private:
  static constexpr OneProcess one_process{};
  static constexpr NoLossScaling no_scaling{};

  /// Adds the gradients of this process's samples, `at_once` of them at a time.
  StepReport<Backend> share_of_step(const PatchPlan& plan, std::int64_t at_once) {
    const Share share = processes_->share(plan);
    std::optional<StepReport<Backend>> report;
    for (std::int64_t done = 0; done < share.count; done += at_once) {
      const std::int64_t count = std::min(at_once, share.count - done);
      if (done + count == share.count) processes_->last_part();
      StepReport<Backend> part = step_.gradients(
          *denoiser_, loader_->take(plan, share.first + static_cast<std::uint64_t>(done), count), plan, *scaling_);
      report ? report->append(part) : void(report = std::move(part));
    }
    if (report) return *std::move(report);
    return {.plan = plan, .per_sample = Backend::zeros({0}, denoiser_->device())};
  }

  D* denoiser_;
  O* optimizer_;
  Loader* loader_;
  TrainState* state_;
  Processes* processes_;
  Scaling* scaling_;
  TrainerOptions options_;
  TrainStep<Backend> step_;
  std::uint64_t skips_ = 0;  ///< steps left out in a row
};

}  // namespace patchdiff
