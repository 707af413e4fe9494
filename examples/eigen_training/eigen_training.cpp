// SPDX-License-Identifier: Apache-2.0
// Trains small class-conditional models without LibTorch: on textures that it draws itself, then on Fashion-MNIST at
// 16x16, half of the steps on patches of 8x8; writes a picture of samples of each.
//
// What to expect of about a minute on two cores: textures that look right, and garments whose kind can be told and
// whose details cannot. It shows that patch training works on the Eigen backend, not how good such a model can get.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/loader.hpp>
#include <patchdiff/eigen.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/training/learning_rate.hpp>

#include "shared/fashion_mnist.hpp"
#include "shared/run_program.hpp"
#include "shared/training_lines.hpp"
#include "small_images.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

struct Settings {
  fs::path data = fashion_mnist_folder, out = "eigen-training-out";
  double seconds = 60;
  int threads = 2;
  std::uint64_t seed = 1;
};

/// Trains a model for a time, and writes NAME.png, one class per row, and NAME.safetensors.
void train(const std::string& name, const pd::ArrayDataset& images, double seconds, const Settings& settings,
           B::Device device) {
  const std::int64_t classes = images.class_count();
  pd::SmallUNet<float> network(
      {.in_channels = 1 + 2, .out_channels = 1, .label_dim = classes, .model_channels = 24, .channel_mult = {1, 2, 2}},
      {settings.seed}, device);
  const pd::PatchSizes sizes{.image = images.shape().size(),
                             .sizes = {{8, 8}, images.shape().size()},
                             .multiplier = pd::MultiplierRule::constant(1),
                             .size_divisor = network.size_divisor()};
  pd::DenoiserWrapper denoiser{std::move(network), {.image = images.shape()}};
  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic_of(sizes), .batch = 16, .label_dropout = 0.1}};
  pd::Loader<B, pd::ArrayDataset> loader(images, device, {.seed = settings.seed});
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser, {.rampup_ratio = 0.1});
  pd::TrainState state{.seed = settings.seed};

  fmt::print("{}: training for {:.0f} s\n", name, seconds);
  TrainingLines lines(seconds / 8);
  for (double progress = 0; progress < 1;) {
    optimizer.set_learning_rate(pd::cosine_learning_rate(4e-3, progress, 0.05));
    const pd::PatchPlan plan = step.plan(state);
    const auto report = step(denoiser, optimizer, loader.take(plan), plan, state);
    ema.update(denoiser, state);
    progress = lines.seconds() / seconds;
    lines.add(state, report.loss(), progress >= 1);
  }

  pd::DenoiserWrapper averaged = ema.apply_to(denoiser.clone());
  pd::model_file::save(settings.out / (name + ".safetensors"), averaged);

  constexpr std::int64_t per_class = 8;
  std::vector<std::int64_t> labels;
  for (std::int64_t sample = 0; sample < classes * per_class; ++sample) labels.push_back(sample / per_class);
  const auto samples = pd::ODESampler{{.num_steps = 18}}(
      pd::GuidedDenoiser(averaged, 1.5),
      {.seeds = pd::seed_range(settings.seed, labels.size()),
       .conditioning = {.class_labels = pd::one_hot_labels<B>(labels, classes, device)}});
  const pd::ImageGrid grid({.columns = per_class, .scale = 4});
  pd::write_png(settings.out / (name + ".png"), grid(B::Wide::to_host(samples), samples.shape()));
  fmt::print("{}: wrote {}.png and {}.safetensors to {}\n", name, name, name, settings.out.string());
}

void run(const Settings& settings) {
  const pd::ArrayDataset fashion = garments(settings.data);
  fs::create_directories(settings.out);
  pd::ThreadExecutor pool(settings.threads);
  fmt::print(
      "Small networks, about {:.0f} s of training in all: expect textures that look right, and garments whose\n"
      "kind can be told, without details.\n",
      settings.seconds);
  train("textures", textures(settings.seed), settings.seconds / 4, settings, {pool});
  train("garments", fashion, settings.seconds * 3 / 4, settings, {pool});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains small diffusion models on patches without LibTorch, then samples whole images.",
               "eigen_training"};
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's IDX files");
  app.add_option("--out", settings.out, "folder for the pictures and models");
  app.add_option("--seconds", settings.seconds, "time to train for, in all")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  app.add_option("--seed", settings.seed, "seed of every random draw");
  return run_program(app, argc, argv, [&] { run(settings); });
}
