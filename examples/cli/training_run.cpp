// SPDX-License-Identifier: Apache-2.0
#include "training_run.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/parallel/gather.hpp>
#include <patchdiff/parallel/require_equal.hpp>
#include <patchdiff/parallel/torch/autograd_sum.hpp>
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

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

pd::TrainerOptions trainer_options(const TrainingSettings& settings, pd::PatchSizeSchedule schedule) {
  return {.step = {.schedule = std::move(schedule),
                   .batch = settings.batch,
                   .loss = {.sigma = pd::SigmaDistribution::log_normal(settings.p_mean, settings.p_std),
                            .reduction = settings.reduction},
                   .label_dropout = settings.label_dropout,
                   .max_gradient_norm = settings.max_gradient_norm > 0 ? settings.max_gradient_norm
                                                                       : std::numeric_limits<double>::infinity(),
                   .non_finite = settings.skip_non_finite ? pd::NonFinite::skip : pd::NonFinite::fail},
          .micro_batch = settings.micro_batch > 0 ? std::optional(settings.micro_batch) : std::nullopt};
}

pd::EMA<B> make_average(const TrainingSettings& settings, Denoiser& denoiser) {
  return pd::EMA<B>(denoiser,
                    {.halflife_images = settings.ema_halflife_images, .rampup_ratio = settings.ema_rampup_ratio});
}

pd::Adam<B> make_optimizer() { return pd::Adam<B>{{.beta2 = 0.99}}; }

/// Calls `f` with a loader of the images: of patches, where parts of images can be read.
template <class F>
auto with_loader(const pd::AnyDataset& images, const TrainingSettings& settings, const ReadingSettings& reading,
                 const Denoiser& denoiser, const F& f) {
  if (images.has_regions()) {
    pd::PatchLoader<B, pd::AnyDataset> loader(
        images, denoiser.device(),
        {.seed = settings.seed, .padding = denoiser.coords().padding, .augmentation = settings.augmentation()});
    return f(loader);
  }
  pd::Loader<B, pd::AnyDataset> loader(
      images, denoiser.device(),
      {.seed = settings.seed, .workers = reading.workers, .augmentation = settings.augmentation()});
  return f(loader);
}

/// What the process that leads has of a number.
std::uint64_t leaders(RunProcesses& processes, std::uint64_t number) {
  // A double holds half of the bits exactly.
  const std::vector<double> halves{static_cast<double>(number >> 32), static_cast<double>(number & 0xFFFF'FFFF)};
  const std::vector<double> first = pd::gather(processes, halves, "length of the run").front();
  return static_cast<std::uint64_t>(first[0]) << 32 | static_cast<std::uint64_t>(first[1]);
}

}  // namespace

TrainingRun::TrainingRun(const pd::AnyDataset& images, TrainingSettings settings, ReadingSettings reading,
                         Denoiser& denoiser)
    : images_(&images), settings_(settings), reading_(reading), size_divisor_(denoiser.network().size_divisor()) {
  make_average(settings_, denoiser);
  pd::TrainStep<B>{trainer_options(settings_, schedule(1)).step};
  if (reading.workers < 1)
    throw pd::ConfigError("train", "--workers", "at least 1", fmt::format("{}", reading.workers));
  if (images.has_regions() && reading.workers > 1) {
    throw pd::ConfigError("train", "--workers", "1, as one thread reads the patches of an NPY file",
                          fmt::format("{}", reading.workers));
  }
  const std::int64_t told = pd::Augmentation(settings.augmentation()).label_dim();
  if (told > 0 && denoiser.network().augment_dim() != told) {
    throw pd::ConfigError("train", "--augment-probability", "0, as the model reads no augmentation labels",
                          fmt::format("{}", settings.augment_probability));
  }
}

pd::PatchSizeSchedule TrainingRun::schedule(std::uint64_t total) const {
  return schedule(total, settings_.full_image_probability);
}

pd::PatchSizeSchedule TrainingRun::schedule(std::uint64_t total, double full_image_probability) const {
  const pd::PatchMixture mixture{.image = images_->shape().size(),
                                 .full_image_probability = full_image_probability,
                                 .size_divisor = size_divisor_};
  return settings_.schedule == ScheduleKind::progressive ? pd::PatchSizeSchedule::progressive(mixture, total)
                                                         : pd::PatchSizeSchedule::stochastic(mixture);
}

pd::LossTable TrainingRun::loss_table(const Denoiser& denoiser) const {
  return pd::LossTable(denoiser, trainer_options(settings_, schedule(1)).step.loss);
}

TrainingEstimate TrainingRun::estimate(const Denoiser& denoiser, const TrainingLength& length) const {
  return with_loader(*images_, settings_, reading_, denoiser, [&](auto& loader) {
    TrainingEstimate estimate;
    const pd::ImageSize image = images_->shape().size();
    pd::TrainerOptions options = trainer_options(settings_, schedule(1, 0.5));  // which takes every size
    const std::vector<double> seconds = pd::measured_seconds_per_image(denoiser, loader, options.step, settings_.seed);
    const auto time_of = [&](double p) { return pd::TrainingCost(schedule(1, p), seconds).left(0); };
    const std::vector<pd::ImageSize> sizes = options.step.schedule.sizes();
    for (std::size_t size = 0; size < sizes.size(); ++size) {
      const auto train = [&] {
        Denoiser model = denoiser.clone();
        pd::Adam<B> optimizer = make_optimizer();
        pd::TrainState state{.seed = settings_.seed};
        optimizer.prepare(model);
        const pd::EMA<B> average = make_average(settings_, model);
        options.step.schedule = pd::PatchSizeSchedule::stochastic_of({.image = image, .sizes = {sizes[size]}});
        pd::Trainer(model, optimizer, loader, state, options).step();
      };
      estimate.patches.push_back({sizes[size], seconds[size] / time_of(1), pd::peak_torch_bytes(train)});
    }
    const pd::TrainingCost cost(schedule(1), seconds);
    estimate.images = length.images.value_or(cost.images_in(60 * length.minutes));
    estimate.seconds = static_cast<double>(estimate.images) * cost.left(0);
    for (const double p : {0.5, 0.25, 0.1}) estimate.speed_ups.push_back({p, time_of(1) / time_of(p)});
    return estimate;
  });
}

TrainingResult TrainingRun::operator()(Denoiser denoiser, const TrainingLength& length, const Resuming& resuming,
                                       RunOutput* output, const StopSignal& stop, RunProcesses& processes) const {
  return with_loader(*images_, settings_, reading_, denoiser, [&](auto& loader) -> TrainingResult {
    const auto begin = Clock::now();
    const pd::TrainStepOptions trial = trainer_options(settings_, schedule(1)).step;
    const pd::TrainingCost cost(trial.schedule,
                                pd::measured_seconds_per_image(denoiser, loader, trial, settings_.seed));
    // Each process measures its own speed alone.
    const double of_all = processes.size() * (60 * length.minutes - seconds_since(begin));
    const std::uint64_t total = leaders(processes, length.images.value_or(cost.images_in(of_all)));

    pd::Adam<B> optimizer = make_optimizer();
    optimizer.prepare(denoiser);
    pd::TrainState state{.seed = settings_.seed};
    if (resuming.from) state = resuming.from->state();
    pd::EMA<B> ema = make_average(settings_, denoiser);
    pd::CheckpointParts<B> parts;
    parts.add("model", denoiser).add("adam", optimizer).add("ema", ema);
    if (resuming.from) resuming.from->restore(parts);
    pd::Checkpoint::Settings settings = resuming.settings;
    settings["total"] = fmt::format("{}", total);
    if (length.minutes > 0) settings["minutes"] = fmt::format("{}", length.minutes);
    if (processes.size() > 1) pd::require_same_start(processes, denoiser, state, settings);

    const auto share = [&](std::uint64_t images) { return static_cast<double>(images) / static_cast<double>(total); };
    const auto learning_rate = [&](std::uint64_t images) {
      return pd::cosine_learning_rate(settings_.learning_rate, share(images), settings_.warmup);
    };
    pd::TrainerOptions options = trainer_options(settings_, schedule(total));
    options.learning_rate = learning_rate;
    const std::uint64_t first = state.images;
    std::exception_ptr log_failed;
    bool stopping = false;
    double recent = std::nan("");  // mean loss of the last steps that were not left out, NaN before the first
    const auto start = Clock::now();
    const auto logged = [&](const auto& write) {
      try {
        if (output != nullptr) write(output->logs);
      } catch (const pd::FileError&) {
        log_failed = std::current_exception();
      }
    };
    // Keeps the run; what was logged up to here stays when it is resumed.
    const auto save = [&] {
      logged([&](RunLogs& logs) { logs.write_table(state); });
      if (output != nullptr && !log_failed) resuming.folder.save(parts, state, settings);
    };
    const auto after_step = [&](const pd::StepReport<B>& report) {
      ema.update(denoiser, state);
      const double loss = report.loss(), seconds = seconds_since(start);
      if (!report.skipped) recent = std::isnan(recent) ? loss : 0.95 * recent + 0.05 * loss;
      logged([&](RunLogs& logs) {
        logs.add(report, state, learning_rate(report.plan.first_image), seconds);
        if (logs.wants_samples(state.step)) logs.add_samples(ema.apply_to(denoiser.clone()), state.step);
      });
      if (!log_failed && state.images < total && state.step % resuming.every == 0) save();
      stopping = pd::any_process(processes, stop.requested() || log_failed, "end of a step");
      if (output != nullptr) {
        const double rate = static_cast<double>(state.images - first) / seconds;
        output->progress.show(std::min(1.0, share(state.images)),
                              fmt::format("step {:5}  images {:7} of {}", state.step, state.images, total),
                              fmt::format("{:5.0f} images/s  loss {:.4f}  {} left", rate, recent,
                                          duration_text(cost.seconds_left(share(first), share(state.images), seconds))),
                              stopping || state.images >= total);
      }
      return stopping ? pd::Flow::stop : pd::Flow::proceed;
    };
    if (pd::any_process(processes, stop.requested(), "start of the run")) {
      stopping = true;
    } else if (processes.size() == 1) {
      pd::Trainer(denoiser, optimizer, loader, state, options).run(total, after_step);
    } else {
      pd::AutogradSum sum(denoiser, processes);  // messages go while backward works
      pd::Trainer(denoiser, optimizer, loader, state, options, sum).run(total, after_step);
    }
    if (output != nullptr) output->progress.end_line();
    const bool stopped = stopping && !log_failed && state.images < total;
    if (stopped) save();
    if (!stopped && !log_failed) logged([&](RunLogs& logs) { logs.write_table(state); });
    return {.averaged = ema.apply_to(std::move(denoiser)),
            .images = state.images,
            .stopped = stopped,
            .log_failed = log_failed};
  });
}
