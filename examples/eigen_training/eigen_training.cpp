// SPDX-License-Identifier: Apache-2.0
// Trains small class-conditional models without LibTorch: on textures that it draws itself, then on Fashion-MNIST at
// 16x16, half of the steps on patches of 8x8; writes a picture of samples of each.
//
// What to expect of about a minute on two cores: textures that look right, and garments whose kind can be told and
// whose details cannot. It shows that patch training works on the Eigen backend, not how good such a model can get.

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/eigen.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/training/learning_rate.hpp>

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::EigenBackend<float>;
using Clock = std::chrono::steady_clock;

struct Settings {
  fs::path data = "/usr/share/datasets/fashion-mnist";  // where Debian's dataset-fashion-mnist puts it
  fs::path out = "eigen-training-out";
  double seconds = 60;
  int threads = 2;
  std::uint64_t seed = 1;
};

constexpr pd::ImageSize image{16, 16};
constexpr std::int64_t batch = 16;
constexpr double learning_rate = 4e-3;

Settings parse(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains small diffusion models on patches without LibTorch, then samples whole images."};
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's IDX files")->capture_default_str();
  app.add_option("--out", settings.out, "folder for the pictures and models")->capture_default_str();
  app.add_option("--seconds", settings.seconds, "time to train for, in all")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", settings.threads, "threads to train with")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", settings.seed, "seed of every random draw")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return settings;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Waves with a random phase, lying, standing, or leaning, and blobs where two waves meet: one class each.
pd::ArrayDataset textures(std::uint64_t seed) {
  constexpr std::int64_t classes = 4, count = 4096;
  const double turn = 2 * std::numbers::pi;
  pd::LabelledImages drawn{.shape = {1, image.height, image.width}, .class_count = classes};
  for (std::int64_t index = 0; index < count; ++index) {
    const pd::RandomStream stream({seed}, pd::Purpose::data_order, 1, static_cast<std::uint64_t>(index));
    const double phase = turn * stream.uniform(0), other_phase = turn * stream.uniform(1);
    const std::int64_t label = index % classes;
    for (std::int64_t pixel = 0; pixel < pd::pixel_count(image); ++pixel) {
      const double y = turn / 8 * static_cast<double>(pixel / image.width);
      const double x = turn / 8 * static_cast<double>(pixel % image.width);
      const double along = label == 0 ? y : label == 1 ? x : label == 2 ? (x + y) / std::numbers::sqrt2 : x;
      const double wave = std::sin(along + phase) * (label == 3 ? std::sin(y + other_phase) : 1);
      drawn.pixels.push_back(static_cast<std::uint8_t>(127.5 + 127.4 * wave));
    }
    drawn.labels.push_back(label);
  }
  return pd::ArrayDataset(std::move(drawn));
}

/// Fashion-MNIST with its border of two black pixels, each 2x2 pixels averaged.
pd::ArrayDataset garments(const fs::path& folder) {
  const pd::ArrayDataset full = pd::read_idx_dataset({.images = folder / "train-images-idx3-ubyte.gz",
                                                      .labels = folder / "train-labels-idx1-ubyte.gz",
                                                      .pad_to = {2 * image.height, 2 * image.width}});
  pd::LabelledImages halved{.shape = {1, image.height, image.width}, .class_count = full.class_count()};
  for (std::int64_t index = 0; index < full.size(); ++index) {
    const std::uint8_t* pixels = full.pixels(index).data();
    for (std::int64_t row = 0; row < image.height; ++row, pixels += 4 * image.width) {
      for (std::int64_t column = 0; column < image.width; ++column) {
        const std::uint8_t* corner = pixels + 2 * column;
        const int sum = corner[0] + corner[1] + corner[2 * image.width] + corner[2 * image.width + 1];
        halved.pixels.push_back(static_cast<std::uint8_t>((sum + 2) / 4));
      }
    }
    halved.labels.push_back(full.label(index));
  }
  return pd::ArrayDataset(std::move(halved));
}

/// Trains a model for a time, and writes NAME.png, one class per row, and NAME.safetensors.
void train(const std::string& name, const pd::ArrayDataset& images, double seconds, const Settings& settings,
           B::Device device) {
  const std::int64_t classes = images.class_count();
  pd::SmallUNet<float> network(
      {.in_channels = 1 + 2, .out_channels = 1, .label_dim = classes, .model_channels = 24, .channel_mult = {1, 2, 2}},
      {settings.seed}, device);
  const pd::PatchSizes sizes{.image = image,
                             .sizes = {{8, 8}, image},
                             .multiplier = pd::MultiplierRule::constant(1),
                             .size_divisor = network.size_divisor()};
  pd::DenoiserWrapper denoiser{std::move(network), {.image = images.shape()}};
  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic_of(sizes), .batch = batch, .label_dropout = 0.1}};
  pd::Loader<B, pd::ArrayDataset> loader(images, device, {.seed = settings.seed});
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser, {.rampup_ratio = 0.1});
  pd::TrainState state{.seed = settings.seed};

  fmt::print("{}: training for {:.0f} s\n", name, seconds);
  const auto start = Clock::now();
  double shown = 0, loss = 0, progress = 0;
  std::uint64_t steps = 0;
  while (progress < 1) {
    optimizer.set_learning_rate(pd::cosine_learning_rate(learning_rate, progress, 0.05));
    const pd::PatchPlan plan = step.plan(state);
    loss += step(denoiser, optimizer, loader.take(plan), plan, state).loss();
    ema.update(denoiser, state);
    ++steps;
    const double passed = seconds_since(start);
    progress = passed / seconds;
    if (passed - shown >= seconds / 8 || progress >= 1) {
      fmt::print("{:4.0f} s  step {:5}  images {:6}  {:4.0f} images/s  mean loss {:.4f}\n", passed, state.step,
                 state.images, static_cast<double>(state.images) / passed, loss / static_cast<double>(steps));
      std::fflush(stdout);
      shown = passed, loss = 0, steps = 0;
    }
  }

  pd::DenoiserWrapper averaged = ema.apply_to(denoiser.clone());
  pd::model_file::save(settings.out / (name + ".safetensors"), averaged);
  constexpr std::int64_t per_class = 8;
  std::vector<std::int64_t> labels;
  for (std::int64_t sample = 0; sample < classes * per_class; ++sample) labels.push_back(sample / per_class);
  const pd::GuidedDenoiser guided(averaged, 1.5);
  const auto samples = pd::ODESampler{{.num_steps = 18}}(
      guided, {.seeds = pd::seed_range(settings.seed, labels.size()),
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
  try {
    run(parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "eigen_training: {}\n", error.what());
    return 1;
  }
}
