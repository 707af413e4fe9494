// SPDX-License-Identifier: Apache-2.0
// Trains a class-conditional model on patches of Fashion-MNIST and samples whole images: the library's main job.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/eye.h>
#include <fmt/format.h>

#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/io/csv_log.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/torch.hpp>

#include "fashion_features.hpp"
#include "run_length.hpp"
#include "sample_judge.hpp"
#include "settings.hpp"
#include "shared/fashion_mnist.hpp"
#include "shared/run_program.hpp"
#include "shared/stopwatch.hpp"
#include "shared/training_lines.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

void run(const Settings& settings) {
  const Stopwatch start;
  at::set_num_threads(settings.threads);
  fs::create_directories(settings.out);
  fs::remove(settings.out / "loss.csv");  // of an earlier run
  pd::CsvLog log(settings.out / "loss.csv", {"step", "images", "patch", "loss", "seconds"});

  const pd::ArrayDataset images = fashion_mnist(settings.data, "train"), test = fashion_mnist(settings.data, "t10k");
  const pd::ImageSize image = images.shape().size();
  const std::int64_t classes = images.class_count();
  const pd::TorchDevice device{at::Device(settings.device)};
  pd::SongUNet network({.image = image,
                        .in_channels = 1 + 2,
                        .out_channels = 1,
                        .label_dim = classes,
                        .model_channels = 32,
                        .channel_mult = {1, 1, 2},
                        .num_blocks = 1,
                        .attn_resolutions = {8},
                        .dropout = 0},
                       {settings.seed}, device);
  const auto tell = [](std::string_view text) { fmt::print(stderr, "quickstart: {}\n", text); };
  const pd::Precision precision = pd::usable_precision(settings.precision, device, tell);
  pd::DenoiserWrapper denoiser{std::move(network), {.image = images.shape(), .precision = precision}};
  const pd::AnyDenoiser<B> untrained(denoiser.clone());
  pd::Loader<B, pd::ArrayDataset> loader(images, device, {.seed = settings.seed});

  // From small patches to full images, and noise a little higher than published: docs/measurements.md says why.
  const pd::PatchMixture mixture{.image = image, .full_image_probability = 0.5};
  pd::TrainStepOptions step_options{.schedule = pd::PatchSizeSchedule::progressive(mixture, 1),
                                    .batch = 32,
                                    .loss = {.sigma = pd::SigmaDistribution::log_normal(-0.6, 1.2)},
                                    .label_dropout = 0.1};
  pd::TimedLength length = length_for(60 * settings.minutes - start.seconds(), denoiser, loader, step_options);
  fmt::print("training on about {} images in {:.1f} minutes\n", length.images(), settings.minutes);

  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = settings.seed};
  const auto learning_rate = [&](auto seen) { return pd::cosine_learning_rate(2e-3, length.share(seen), 0.05); };
  TrainingLines lines;
  while (state.images < length.images()) {  // for each plan of the length
    step_options.schedule = pd::PatchSizeSchedule::progressive(mixture, length.images());
    pd::Trainer trainer(denoiser, optimizer, loader, state, {.step = step_options, .learning_rate = learning_rate});
    trainer.run(length.images(), [&](const pd::StepReport<B>& report) {
      ema.update(denoiser, state);
      const double loss = report.loss();
      log.append({state.step, state.images, report.plan.patch.height, loss, lines.seconds()});
      lines.add(state, loss, state.images >= length.images());
      return length.update(report.plan) ? pd::Flow::stop : pd::Flow::proceed;
    });
  }

  pd::DenoiserWrapper averaged = ema.apply_to(denoiser.clone());
  pd::model_file::save(settings.out / "model.safetensors", averaged);

  constexpr std::int64_t per_class = 8;
  const at::Tensor samples = pd::ODESampler{{.num_steps = 18}}(
      pd::GuidedDenoiser(averaged, 1.5),
      {.seeds = pd::seed_range(settings.seed, static_cast<std::size_t>(classes * per_class)),
       .conditioning = {.class_labels = at::eye(classes, device.options()).repeat_interleave(per_class, 0)}});
  const pd::ImageGrid grid({.columns = per_class, .scale = 3});
  pd::write_png(settings.out / "samples.png", grid(B::to_host(samples), B::shape(samples)));
  fmt::print("wrote samples.png, loss.csv and model.safetensors to {} after {:.0f} s\n", settings.out.string(),
             start.seconds());

  const SampleJudge judge(fashion_features(), pd::AnyDataset(test));
  fmt::print("Fréchet distances of 1000 images to the test images:\n");
  fmt::print("FD real images {:8.2f}\n", judge.real(pd::AnyDataset(images)));
  fmt::print("FD trained     {:8.2f}\n", judge.samples(pd::AnyDenoiser<B>(averaged.clone())));
  fmt::print("FD untrained   {:8.2f}\n", judge.samples(untrained));
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains a class-conditional model on patches of Fashion-MNIST, then samples whole images.",
               "quickstart"};
  add_options(app, settings);
  return run_program(app, argc, argv, [&] { run(settings); });
}
