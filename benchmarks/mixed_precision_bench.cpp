// SPDX-License-Identifier: Apache-2.0
// A whole TrainStep in bfloat16 beside the same one in float32, step by step in turns, on Fashion-MNIST: what mixed
// precision gains at each patch size. With --losses also two whole runs of the same draws, and whether their losses
// agree. Prints medians and, with --json, writes every figure.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/learning_rate.hpp>

#include "measure.hpp"
#include "shared/fashion_mnist.hpp"
#include "unet_settings.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings : UNetSettings {
  fs::path data = fashion_mnist_folder;
  std::int64_t loss_steps = 0;
  std::int64_t loss_batch = 16;
  double loss_rate = 2e-4;
};

/// A model and all that trains it, from the same weights and draws whatever the precision.
class Run {
 public:
  Run(const Settings& settings, const pd::ArrayDataset& images, pd::Precision precision, pd::TrainStepOptions options)
      : denoiser_(pd::SongUNet(settings.network(), {1}), {.image = images.shape(), .precision = precision}),
        step_(std::move(options)),
        ema_(denoiser_),
        loader_(images, {}, {.seed = state_.seed}) {}

  /// Takes a step: all that a host pays for, but reading images; notes what it took, where that is asked for.
  void timed_step(Times* times) {
    const pd::PatchPlan plan = step_.plan(state_);
    const pd::ImageBatch<B> batch = loader_.take(plan);
    const auto work = [&] {
      step_(denoiser_, adam_, batch, plan, state_);
      ema_.update(denoiser_, state_);
    };
    times ? times->add(work) : work();
  }

  double step_loss(double learning_rate) {
    adam_.set_learning_rate(learning_rate);
    const pd::PatchPlan plan = step_.plan(state_);
    return step_(denoiser_, adam_, loader_.take(plan), plan, state_).loss();
  }

  /// Moves all weights by about as much as they are rounded.
  void round_otherwise() {
    const at::NoGradGuard no_grad;
    denoiser_.visit_parameters([](auto, at::Tensor& value, at::Tensor&) { value.mul_(1 + 2e-7); });
  }

 private:
  pd::DenoiserWrapper<pd::SongUNet> denoiser_;
  pd::TrainStep<B> step_;
  pd::Adam<B> adam_{{.learning_rate = 1e-3}};
  pd::EMA<B> ema_;
  pd::TrainState state_{.seed = 1};
  pd::Loader<B, pd::ArrayDataset> loader_;
};

Json time_steps(const Settings& settings, const pd::ArrayDataset& images, std::int64_t patch) {
  const pd::TrainStepOptions options{
      .schedule = pd::PatchSizeSchedule::stochastic_of({.image = images.shape().size(), .sizes = {{patch, patch}}}),
      .batch = settings.batch};
  Run exact(settings, images, pd::Precision::float32, options),
      mixed(settings, images, pd::Precision::bfloat16, options);
  Times float32, bfloat16;
  for (std::int64_t step = -2; step < settings.steps; ++step) {
    exact.timed_step(step < 0 ? nullptr : &float32);
    mixed.timed_step(step < 0 ? nullptr : &bfloat16);
  }
  const Spread gain = ratios_of(float32.elapsed, bfloat16.elapsed);
  const Spread processor_gain = ratios_of(float32.processor, bfloat16.processor);
  fmt::print(
      "patch {:4}: float32 {:8.2f} ms, bfloat16 {:8.2f} ms, {:.2f} times as fast ({:.2f} to {:.2f}), {:.2f} times in "
      "processor time\n",
      patch, 1e3 * spread_of(float32.elapsed).median, 1e3 * spread_of(bfloat16.elapsed).median, gain.median, gain.least,
      gain.most, processor_gain.median);
  std::fflush(stdout);
  return {{"patch", patch},
          {"images", options.schedule.plan({}, options.batch).images},
          {"float32", to_json(spread_of(float32.elapsed))},
          {"bfloat16", to_json(spread_of(bfloat16.elapsed))},
          {"float32_processor", to_json(spread_of(float32.processor))},
          {"bfloat16_processor", to_json(spread_of(bfloat16.processor))},
          {"gain_median", gain.median},
          {"gain_min", gain.least},
          {"gain_max", gain.most},
          {"processor_gain_median", processor_gain.median}};
}

/// The mean loss of the last tenth of a run over all patch sizes, of the same draws: in both precisions, and in float32
/// from weights that are rounded otherwise, which tells how far runs lie apart that differ in rounding alone.
Json compare_losses(const Settings& settings, const pd::ArrayDataset& images) {
  const pd::TrainStepOptions options{.schedule = pd::PatchSizeSchedule::stochastic({.image = images.shape().size()}),
                                     .batch = settings.loss_batch};
  Run exact(settings, images, pd::Precision::float32, options),
      mixed(settings, images, pd::Precision::bfloat16, options),
      moved(settings, images, pd::Precision::float32, options);
  moved.round_otherwise();
  const std::int64_t last = std::max<std::int64_t>(1, settings.loss_steps / 10);
  double float32 = 0, bfloat16 = 0, rounded = 0;
  for (std::int64_t step = 0; step < settings.loss_steps; ++step) {
    const double counts = step >= settings.loss_steps - last ? 1.0 / static_cast<double>(last) : 0;
    const double rate = pd::cosine_learning_rate(
        settings.loss_rate, static_cast<double>(step) / static_cast<double>(settings.loss_steps), /*warmup=*/0.05);
    float32 += counts * exact.step_loss(rate);
    bfloat16 += counts * mixed.step_loss(rate);
    rounded += counts * moved.step_loss(rate);
  }
  const auto percent = [&](double loss) { return 100 * (loss / float32 - 1); };
  fmt::print(
      "mean loss of the last {} of {} steps: float32 {:.5f}, bfloat16 {:.5f} ({:+.2f} %), float32 rounded otherwise "
      "{:.5f} "
      "({:+.2f} %)\n",
      last, settings.loss_steps, float32, bfloat16, percent(bfloat16), rounded, percent(rounded));
  return {{"steps", settings.loss_steps},
          {"last", last},
          {"batch", settings.loss_batch},
          {"learning_rate", settings.loss_rate},
          {"float32", float32},
          {"bfloat16", bfloat16},
          {"float32_rounded_otherwise", rounded},
          {"difference_percent", percent(bfloat16)},
          {"rounding_difference_percent", percent(rounded)}};
}

void run(Settings& settings) {
  settings.settle();
  const pd::ArrayDataset images = pd::read_idx_dataset({.images = settings.data / "train-images-idx3-ubyte.gz",
                                                        .labels = settings.data / "train-labels-idx1-ubyte.gz",
                                                        .pad_to = {settings.resolution, settings.resolution}});
  Json results = Json::array();
  const auto mean_of = [&](const char* gain) {
    double logarithms = 0;
    for (const Json& result : results) logarithms += std::log(result[gain].get<double>());
    return std::exp(logarithms / static_cast<double>(std::max<std::size_t>(1, results.size())));
  };
  for (const std::int64_t patch : settings.patches) results.push_back(time_steps(settings, images, patch));
  const double mean = mean_of("gain_median"), processor_mean = mean_of("processor_gain_median");
  if (!results.empty()) {
    fmt::print("geometric mean: {:.2f} times as fast, {:.2f} times in processor time\n", mean, processor_mean);
  }
  const Json losses = settings.loss_steps > 0 ? compare_losses(settings, images) : Json();
  Json figures = settings.described("mixed_precision");
  figures.update({{"results", results},
                  {"gain_geometric_mean", mean},
                  {"processor_gain_geometric_mean", processor_mean},
                  {"losses", losses}});
  write_figures(settings.json, "mixed_precision_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  settings.model_channels = 64;
  settings.steps = 10;
  CLI::App app{"Times training steps in bfloat16 beside float32 in the same run.", "mixed_precision_bench"};
  settings.add_to(app, "step");
  app.add_option("--data", settings.data, "folder of Fashion-MNIST");
  app.add_flag("--losses{1000}", settings.loss_steps, "steps of a run of each kind, whose last losses are compared");
  app.add_option("--loss-batch", settings.loss_batch, "images of a full-size step of those runs");
  app.add_option("--loss-rate", settings.loss_rate, "their highest learning rate; the default is the published one")
      ->check(CLI::PositiveNumber);
  return run_program(app, argc, argv, [&] { run(settings); });
}
