// SPDX-License-Identifier: Apache-2.0
#include "training_run.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/train_step.hpp>

#include "training_cost.hpp"

namespace pd = patchdiff;

namespace {

using Clock = std::chrono::steady_clock;
using Loader = pd::Loader<B, pd::ArrayDataset>;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

pd::TrainStep<B> make_step(const TrainingSettings& settings, pd::PatchSizeSchedule schedule) {
  return pd::TrainStep<B>({.schedule = std::move(schedule),
                           .batch = settings.batch,
                           .loss = {.sigma = pd::SigmaDistribution::log_normal(settings.p_mean, settings.p_std),
                                    .reduction = settings.reduction},
                           .label_dropout = settings.label_dropout});
}

pd::EMA<B> make_average(const TrainingSettings& settings, Denoiser& denoiser) {
  return pd::EMA<B>(denoiser,
                    {.halflife_images = settings.ema_halflife_images, .rampup_ratio = settings.ema_rampup_ratio});
}

/// Up over the first share of the run, then down to zero along a quarter of a cosine.
double learning_rate_at(double progress, const TrainingSettings& settings) {
  const double quarter = 1.5707963267948966;
  const double rise = settings.warmup > 0 ? std::min(1.0, progress / settings.warmup) : 1;
  return settings.learning_rate * rise * std::cos(quarter * std::min(1.0, progress));
}

/// The time that an image takes at each patch size: the fastest of a few steps of a copy of the model.
std::vector<double> measured_seconds_per_image(const Denoiser& denoiser, Loader& loader,
                                               const pd::PatchSizeSchedule& schedule,
                                               const TrainingSettings& settings) {
  Denoiser trial = denoiser.clone();
  pd::Adam<B> optimizer;
  std::vector<double> seconds;
  for (std::size_t size = 0; size < schedule.sizes().size(); ++size) {
    if (schedule.probabilities()[size] <= 0) {
      seconds.push_back(0);
      continue;
    }
    const auto step = make_step(
        settings, pd::PatchSizeSchedule::stochastic_of({.image = schedule.image(), .sizes = {schedule.sizes()[size]}}));
    pd::TrainState state{.seed = settings.seed};
    double fastest = std::numeric_limits<double>::max();
    for (int repeat = 0; repeat < 4; ++repeat) {
      const pd::PatchPlan plan = step.plan(state);
      const auto start = Clock::now();
      step(trial, optimizer, loader.take(plan), plan, state).loss();
      fastest = std::min(fastest, seconds_since(start));
    }
    seconds.push_back(fastest / static_cast<double>(settings.batch * schedule.multipliers()[size]));
  }
  return seconds;
}

}  // namespace

TrainingRun::TrainingRun(const pd::ArrayDataset& data, TrainingSettings settings, Denoiser& denoiser)
    : data_(&data), settings_(settings), size_divisor_(denoiser.network().size_divisor()) {
  make_average(settings_, denoiser);
  make_step(settings_, schedule(1));
}

pd::PatchSizeSchedule TrainingRun::schedule(std::uint64_t total) const {
  const pd::PatchMixture mixture{.image = data_->shape().size(),
                                 .full_image_probability = settings_.full_image_probability,
                                 .size_divisor = size_divisor_};
  return settings_.schedule == ScheduleKind::progressive ? pd::PatchSizeSchedule::progressive(mixture, total)
                                                         : pd::PatchSizeSchedule::stochastic(mixture);
}

TrainingResult TrainingRun::operator()(Denoiser denoiser, const TrainingLength& length, pd::CsvLog& log,
                                       Progress& progress, const StopSignal& stop) const {
  const auto begin = Clock::now();
  Loader loader(*data_, denoiser.device(), {.seed = settings_.seed});
  const pd::PatchSizeSchedule trial = schedule(1);
  const TrainingCost cost(trial, measured_seconds_per_image(denoiser, loader, trial, settings_));
  const double fitting = std::max(1.0, (60 * length.minutes - seconds_since(begin)) / cost.left(0));
  const std::uint64_t total = length.images.value_or(static_cast<std::uint64_t>(fitting));

  const pd::TrainStep<B> step = make_step(settings_, schedule(total));
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema = make_average(settings_, denoiser);
  pd::TrainState state{.seed = settings_.seed};
  std::vector<LossPoint> losses;
  std::exception_ptr log_failed;
  const auto start = Clock::now();
  while (state.images < total && !stop.requested() && !log_failed) {
    const auto done = [&] { return static_cast<double>(state.images) / static_cast<double>(total); };
    optimizer.set_learning_rate(learning_rate_at(done(), settings_));
    const pd::PatchPlan plan = step.plan(state);
    const auto report = step(denoiser, optimizer, loader.take(plan), plan, state);
    ema.update(denoiser, state);

    const double loss = report.loss(), seconds = seconds_since(start);
    losses.push_back({state.images, loss});
    try {
      log.append({state.step, state.images, plan.patch.height, loss, seconds});
    } catch (const pd::FileError&) {
      log_failed = std::current_exception();
    }
    const double expected = (cost.left(0) - cost.left(done())) * static_cast<double>(total);
    const double slower = expected > 0 ? seconds / expected : 1;
    progress.show({.step = state.step,
                   .images = state.images,
                   .total = total,
                   .seconds = seconds,
                   .seconds_left = slower * cost.left(done()) * static_cast<double>(total),
                   .loss = loss},
                  state.images >= total || stop.requested() || log_failed);
  }
  progress.end_line();
  return {.averaged = ema.apply_to(std::move(denoiser)),
          .losses = std::move(losses),
          .images = state.images,
          .stopped = stop.requested() && state.images < total,
          .log_failed = log_failed};
}
