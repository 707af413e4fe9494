// SPDX-License-Identifier: Apache-2.0
#include "training_run.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/learning_rate.hpp>
#include <patchdiff/training/step_report.hpp>
#include <patchdiff/training/train_step.hpp>
#include <patchdiff/training/trainer.hpp>
#include <patchdiff/training/training_cost.hpp>

namespace pd = patchdiff;

namespace {

using Clock = std::chrono::steady_clock;
using Loader = pd::Loader<B, pd::ArrayDataset>;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

pd::TrainStepOptions step_options(const TrainingSettings& settings, pd::PatchSizeSchedule schedule) {
  return {.schedule = std::move(schedule),
          .batch = settings.batch,
          .loss = {.sigma = pd::SigmaDistribution::log_normal(settings.p_mean, settings.p_std),
                   .reduction = settings.reduction},
          .label_dropout = settings.label_dropout};
}

pd::EMA<B> make_average(const TrainingSettings& settings, Denoiser& denoiser, const pd::TrainState& state = {}) {
  return pd::EMA<B>(
      denoiser, {.halflife_images = settings.ema_halflife_images, .rampup_ratio = settings.ema_rampup_ratio}, state);
}

}  // namespace

TrainingRun::TrainingRun(const pd::ArrayDataset& data, TrainingSettings settings, Denoiser& denoiser)
    : data_(&data), settings_(settings), size_divisor_(denoiser.network().size_divisor()) {
  make_average(settings_, denoiser);
  pd::TrainStep<B>{step_options(settings_, schedule(1))};
}

pd::PatchSizeSchedule TrainingRun::schedule(std::uint64_t total) const {
  const pd::PatchMixture mixture{.image = data_->shape().size(),
                                 .full_image_probability = settings_.full_image_probability,
                                 .size_divisor = size_divisor_};
  return settings_.schedule == ScheduleKind::progressive ? pd::PatchSizeSchedule::progressive(mixture, total)
                                                         : pd::PatchSizeSchedule::stochastic(mixture);
}

TrainingResult TrainingRun::operator()(Denoiser denoiser, const TrainingLength& length, const Resuming& resuming,
                                       pd::CsvLog& log, Progress& progress, const StopSignal& stop) const {
  const auto begin = Clock::now();
  Loader loader(*data_, denoiser.device(), {.seed = settings_.seed});
  const pd::PatchSizeSchedule trial = schedule(1);
  const pd::TrainingCost cost(
      trial, pd::measured_seconds_per_image(denoiser, loader, step_options(settings_, trial), settings_.seed));
  const double fitting = std::max(1.0, (60 * length.minutes - seconds_since(begin)) / cost.left(0));
  const std::uint64_t total = length.images.value_or(static_cast<std::uint64_t>(fitting));

  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  optimizer.prepare(denoiser);
  pd::TrainState state{.seed = settings_.seed};
  if (resuming.from) state = resuming.from->state();
  pd::EMA<B> ema = make_average(settings_, denoiser, state);
  pd::CheckpointParts<B> parts;
  parts.add("model", denoiser).add("adam", optimizer).add("ema", ema);
  if (resuming.from) resuming.from->restore(parts);
  pd::Checkpoint::Settings settings = resuming.settings;
  settings["total"] = fmt::format("{}", total);

  const auto share = [&](std::uint64_t images) { return static_cast<double>(images) / static_cast<double>(total); };
  pd::Trainer trainer(denoiser, optimizer, loader, state,
                      {.step = step_options(settings_, schedule(total)), .learning_rate = [&](std::uint64_t images) {
                         return pd::cosine_learning_rate(settings_.learning_rate, share(images), settings_.warmup);
                       }});
  const std::uint64_t first = state.images;
  std::exception_ptr log_failed;
  double recent = -1;  // mean loss of the last steps, negative before the first
  const auto start = Clock::now();
  const auto after_step = [&](const pd::StepReport<B>& report) {
    ema.update(denoiser, state);
    const double loss = report.loss(), seconds = seconds_since(start);
    try {
      log.append({state.step, state.images, report.plan.patch.height, loss, seconds});
    } catch (const pd::FileError&) {
      log_failed = std::current_exception();
    }
    const bool ends = stop.requested() || log_failed;
    recent = recent < 0 ? loss : 0.95 * recent + 0.05 * loss;
    progress.show(
        std::min(1.0, share(state.images)),
        fmt::format("step {:5}  images {:7} of {}", state.step, state.images, total),
        fmt::format("{:5.0f} images/s  loss {:.4f}  {} left", static_cast<double>(state.images - first) / seconds,
                    recent, duration_text(cost.seconds_left(share(first), share(state.images), seconds))),
        ends || state.images >= total);
    if (!log_failed && state.images < total && state.step % resuming.every == 0) {
      resuming.folder.save(parts, state, settings);
    }
    return ends ? pd::Flow::stop : pd::Flow::proceed;
  };
  if (!stop.requested()) trainer.run(total, after_step);
  progress.end_line();
  const bool stopped = stop.requested() && state.images < total;
  if (stopped && !log_failed) resuming.folder.save(parts, state, settings);
  return {.averaged = ema.apply_to(std::move(denoiser)),
          .images = state.images,
          .stopped = stopped,
          .log_failed = log_failed};
}
