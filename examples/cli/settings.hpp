// SPDX-License-Identifier: Apache-2.0
// The program's settings. Each has one description, which the command line, the model file and errors share.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/data/augmentation.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/sampling/named_solver.hpp>

enum class ScheduleKind { progressive, stochastic };

constexpr std::array<patchdiff::NamedValue<ScheduleKind>, 2> value_names(ScheduleKind) noexcept {
  return {{{ScheduleKind::progressive, "progressive"}, {ScheduleKind::stochastic, "stochastic"}}};
}

/// How a model is trained; what the components refuse themselves is left to them.
struct TrainingSettings {
  ScheduleKind schedule = ScheduleKind::progressive;
  double full_image_probability = 0.5;
  std::int64_t batch = 32;
  std::int64_t micro_batch = 0;
  double learning_rate = 2e-3;
  double warmup = 0.05;
  double max_gradient_norm = 0;
  bool skip_non_finite = false;
  double ema_halflife_images = 500'000;
  double ema_rampup_ratio = 0.05;
  patchdiff::Reduction reduction = patchdiff::Reduction::sum;
  double label_dropout = 0.1;
  bool x_flip = false;
  double augment_probability = 0;
  double p_mean = -0.6;
  double p_std = 1.2;
  std::uint64_t seed = 1;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("schedule", self.schedule, "patch sizes from small to full images, or drawn anew at each step");
    visit("full_image_probability", self.full_image_probability, "share of training on full images, p of the paper");
    visit("batch", self.batch, "images of a step on full images; steps on smaller patches take more");
    visit("micro_batch", self.micro_batch, "images of a full-size step that are worked on at once, 0: all");
    visit("learning_rate", self.learning_rate, "of Adam, at its highest; falls to zero along a quarter of a cosine");
    visit("warmup", self.warmup, "share of the run over which the learning rate rises");
    visit("max_gradient_norm", self.max_gradient_norm, "gradients are scaled down to this norm, 0: never");
    visit("skip_non_finite", self.skip_non_finite, "leave out steps that are not finite, rather than stop");
    visit("ema_halflife_images", self.ema_halflife_images, "images after which a weight's share of the average halves");
    visit("ema_rampup_ratio", self.ema_rampup_ratio, "at most this share of the images seen is the half-life");
    visit("reduction", self.reduction, "how the loss adds up over pixels");
    visit("label_dropout", self.label_dropout, "probability of training a sample without its label");
    visit("x_flip", self.x_flip, "mirror half of the images, left to right");
    visit("augment_probability", self.augment_probability,
          "of each of scaling, rotation, stretching and translation; EDM publishes 0.12");
    visit("p_mean", self.p_mean, "mean of ln sigma over the noise levels of training");
    visit("p_std", self.p_std, "standard deviation of ln sigma over the noise levels of training");
    visit("seed", self.seed, "of every random draw");
  }

  void check() const {
    const auto refuse = [](std::string_view option, std::string_view expected, const auto& got) {
      throw patchdiff::ConfigError("train", option, expected, fmt::format("{}", got));
    };
    const auto require_positive = [&](std::string_view option, double value) {
      if (!(value > 0) || !std::isfinite(value)) refuse(option, "a finite value > 0", value);
    };
    require_positive("--learning-rate", learning_rate);
    require_positive("--ema-halflife-images", ema_halflife_images);
    require_positive("--ema-rampup-ratio", ema_rampup_ratio);
    if (!(warmup >= 0 && warmup <= 1)) refuse("--warmup", "a value in [0, 1]", warmup);
    if (micro_batch < 0) refuse("--micro-batch", "at least 0", micro_batch);
    if (!(max_gradient_norm >= 0) || !std::isfinite(max_gradient_norm)) {
      refuse("--max-gradient-norm", "a finite value of at least 0", max_gradient_norm);
    }
  }

  patchdiff::AugmentationOptions augmentation() const { return {.x_flip = x_flip, .probability = augment_probability}; }
};

/// What is drawn of a model, and how.
struct SamplingSettings {
  patchdiff::SolverName solver = patchdiff::SolverName::heun;
  std::int64_t steps = 18;
  double guidance = 1.5;
  std::int64_t count = 8;
  std::uint64_t seed = 1;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("solver", self.solver, "how the equation from noise to images is solved");
    visit("steps", self.steps, "steps of the solver; heun calls the network twice in each but the last");
    visit("guidance", self.guidance, "classifier-free guidance, 1: none");
    visit("count", self.count, "images of each class");
    visit("seed", self.seed, "of the first image; the next one has the next seed");
  }

  void check() const {
    if (steps < 1) throw patchdiff::ConfigError("sample", "--steps", "at least 1", fmt::format("{}", steps));
    if (count < 1) throw patchdiff::ConfigError("sample", "--count", "at least 1", fmt::format("{}", count));
    if (!std::isfinite(guidance)) {
      throw patchdiff::ConfigError("sample", "--guidance", "a finite value", fmt::format("{}", guidance));
    }
  }
};

/// How images are judged.
struct EvaluationSettings {
  std::int64_t count = 1000;
  std::int64_t bootstrap = 0;
  patchdiff::SolverName solver = patchdiff::SolverName::heun;
  std::int64_t steps = 9;
  double guidance = 1;
  std::uint64_t seed = 0;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("count", self.count, "images of each kind that are compared with the test images");
    visit("bootstrap", self.bootstrap, "times that images are drawn again for intervals of 95 %, 0: no intervals");
    visit("solver", self.solver, "how samples are drawn");
    visit("steps", self.steps, "steps of the solver");
    visit("guidance", self.guidance, "classifier-free guidance of the samples, 1: none");
    visit("seed", self.seed, "of the first sample; the next one has the next seed");
  }

  void check() const {
    const auto refuse = [](std::string_view option, std::string_view expected, const auto& got) {
      throw patchdiff::ConfigError("evaluate", option, expected, fmt::format("{}", got));
    };
    if (steps < 1) refuse("--steps", "at least 1", steps);
    if (count < 4) refuse("--count", "at least 4", count);
    if (bootstrap < 0 || bootstrap == 1) refuse("--bootstrap", "0, or at least 2", bootstrap);
    if (!std::isfinite(guidance)) refuse("--guidance", "a finite value", guidance);
  }
};

/// Where the program computes; no part of a model.
struct ExecutionSettings {
  std::string device = "cpu";
  std::int64_t threads = std::max<std::int64_t>(1, std::thread::hardware_concurrency());

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("device", self.device, "cpu or cuda");
    visit("threads", self.threads, "threads of the processor to compute with");
  }
};

/// How the images of training are read; no part of a model.
struct ReadingSettings {
  std::int64_t workers = 1;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("workers", self.workers, "threads that decode and augment images ahead");
  }
};

/// What a run tells beside its losses.
struct LogSettings {
  bool json_lines = false;
  bool tensorboard = false;
  std::int64_t samples_every = 0;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("json_lines", self.json_lines, "write every step to log.jsonl");
    visit("tensorboard", self.tensorboard, "write an event file that TensorBoard opens");
    visit("samples_every", self.samples_every, "steps after which a picture of samples is drawn, 0: never");
  }

  void check() const {
    if (samples_every >= 0) return;
    throw patchdiff::ConfigError("train", "--samples-every", "at least 0", fmt::format("{}", samples_every));
  }
};

/// What the program keeps in a model file beside the model.
struct ModelRecord {
  static constexpr const char* key = "patchdiff_program";  ///< in the file's metadata

  std::vector<std::string> class_names{};
  SamplingSettings sampling{};
  TrainingSettings training{};
  patchdiff::Normalization normalization{};  ///< of the images that it was trained on; empty: none
  std::string data{};
  std::uint64_t images = 0;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("class_names", self.class_names, "names of the classes, from class 0 on");
    visit("sampling", self.sampling, "defaults of sampling");
    visit("training", self.training, "how the model was trained");
    visit("normalization", self.normalization, "normalisation of the training images, undone in drawn ones");
    visit("data", self.data, "the training images: number, size, classes and checksum");
    visit("images", self.images, "images seen in training");
  }
};
