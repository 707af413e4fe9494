// SPDX-License-Identifier: Apache-2.0
// Trains a class-conditional model on patches of Fashion-MNIST and samples whole images: the library's main job.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/io/csv_log.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/learning_rate.hpp>
#include <patchdiff/training/training_cost.hpp>

#include "fashion_features.hpp"
#include "sample_judge.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;
using Denoiser = pd::DenoiserWrapper<pd::SongUNet>;
using Clock = std::chrono::steady_clock;

struct Settings {
  fs::path data = "/usr/share/datasets/fashion-mnist";  // where Debian's dataset-fashion-mnist puts it
  fs::path out = "quickstart-out";
  double minutes = 5;
  int threads = 2;
  std::uint64_t seed = 1;
  pd::Precision precision = pd::Precision::bfloat16;
  std::string device = "cpu";
};

constexpr pd::ImageSize image{32, 32};
constexpr std::int64_t classes = 10;
constexpr std::int64_t batch = 32;
constexpr double full_image_probability = 0.5;
constexpr double learning_rate = 2e-3;
constexpr double p_mean = -0.6, p_std = 1.2;  // of ln sigma in training

Settings parse(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains a class-conditional diffusion model on patches of Fashion-MNIST, then samples whole images."};
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's four IDX files")->capture_default_str();
  app.add_option("--out", settings.out, "folder for samples.png, loss.csv and model.safetensors")
      ->capture_default_str();
  app.add_option("--minutes", settings.minutes, "time to train for")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--threads", settings.threads, "threads for LibTorch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", settings.seed, "seed of every random draw")->capture_default_str();
  app.add_option("--precision", settings.precision, "of convolutions; bfloat16 where the processor has it")
      ->transform(CLI::CheckedTransformer(pd::values_by_name<pd::Precision>()));
  app.add_option("--device", settings.device, "cpu or cuda")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return settings;
}

/// Makes the output folder, and clears the log of an earlier run there.
void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw pd::FileError("--out", folder.string(), "a folder that can be written", error.message());
  fs::remove(folder / "loss.csv", error);
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

pd::ArrayDataset read(const fs::path& folder, const std::string& split) {
  return pd::read_idx_dataset({.images = folder / (split + "-images-idx3-ubyte.gz"),
                               .labels = folder / (split + "-labels-idx1-ubyte.gz"),
                               .pad_to = image});
}

void run(const Settings& settings) {
  const auto start = Clock::now();
  at::set_num_threads(settings.threads);
  make_folder(settings.out);
  pd::CsvLog log(settings.out / "loss.csv", {"step", "images", "patch", "loss", "seconds"});

  const pd::ArrayDataset images = read(settings.data, "train"), test = read(settings.data, "t10k");
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
  const pd::Precision precision = pd::usable_precision(
      settings.precision, device, [](std::string_view text) { fmt::print(stderr, "quickstart: {}\n", text); });
  Denoiser denoiser{std::move(network), {.image = {1, image.height, image.width}, .precision = precision}};
  const Denoiser untrained = denoiser.clone();
  pd::Loader<B, pd::ArrayDataset> loader(images, device, {.seed = settings.seed});

  // The published sizes and shares, from small patches to full images: docs/measurements.md says why not mixed, and why
  // noise is drawn a little higher than published.
  const pd::PatchMixture mixture{.image = image, .full_image_probability = full_image_probability};
  pd::TrainStepOptions step_options{.schedule = pd::PatchSizeSchedule::progressive(mixture, 1),
                                    .batch = batch,
                                    .loss = {.sigma = pd::SigmaDistribution::log_normal(p_mean, p_std)},
                                    .label_dropout = 0.1};
  const std::vector<double> seconds_per_image = pd::measured_seconds_per_image(denoiser, loader, step_options);
  for (std::size_t size = 0; size < seconds_per_image.size(); ++size) {
    fmt::print("patches of {}: {:.0f} images/s\n", pd::to_string(step_options.schedule.sizes()[size]),
               1 / seconds_per_image[size]);
  }
  const pd::TrainingCost cost(step_options.schedule, seconds_per_image);
  const double seconds_to_train = 60 * settings.minutes - seconds_since(start);
  const auto total = static_cast<std::uint64_t>(std::max(1.0, seconds_to_train / cost.left(0)));
  fmt::print("training on {} images in about {:.1f} minutes\n", total, settings.minutes);

  step_options.schedule = pd::PatchSizeSchedule::progressive(mixture, total);
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = settings.seed};
  const auto share = [&](std::uint64_t seen) { return static_cast<double>(seen) / static_cast<double>(total); };
  pd::Trainer trainer(denoiser, optimizer, loader, state,
                      {.step = step_options, .learning_rate = [&](std::uint64_t seen) {
                         return pd::cosine_learning_rate(learning_rate, share(seen), 0.05);
                       }});
  const auto training = Clock::now();
  double shown = 0;
  trainer.run(total, [&](const pd::StepReport<B>& report) {
    ema.update(denoiser, state);
    const double seconds = seconds_since(training);
    const double loss = report.loss();
    log.append({static_cast<double>(state.step), static_cast<double>(state.images),
                static_cast<double>(report.plan.patch.height), loss, seconds});
    if (seconds - shown >= 5 || state.images >= total) {
      shown = seconds;
      fmt::print("step {:5}  images {:7}  {:5.0f} images/s  loss {:.4f}  {:3.0f} s left\n", state.step, state.images,
                 static_cast<double>(state.images) / seconds, loss, cost.seconds_left(0, share(state.images), seconds));
      std::fflush(stdout);
    }
    return pd::Flow::proceed;
  });

  Denoiser averaged = ema.apply_to(denoiser.clone());
  pd::model_file::save(settings.out / "model.safetensors", averaged);

  constexpr std::int64_t per_class = 8;
  std::vector<std::int64_t> labels;
  for (std::int64_t sample = 0; sample < classes * per_class; ++sample) labels.push_back(sample / per_class);
  const pd::GuidedDenoiser guided(averaged, 1.5);
  const at::Tensor samples = pd::ODESampler{{.num_steps = 18}}(
      guided, {.seeds = pd::seed_range(settings.seed, labels.size()),
               .conditioning = {.class_labels = pd::one_hot_labels<B>(labels, classes, device)}});
  const pd::ImageGrid grid({.columns = per_class, .scale = 3});
  pd::write_png(settings.out / "samples.png", grid(B::to_host(samples), B::shape(samples)));
  fmt::print("wrote samples.png, loss.csv and model.safetensors to {} after {:.0f} s\n", settings.out.string(),
             seconds_since(start));

  fmt::print("Fréchet distances of 1000 images to the test images:\n");
  const SampleJudge judge(fashion_features(), pd::AnyDataset(test));
  fmt::print("FD real images {:8.2f}\n", judge.real(pd::AnyDataset(images)));
  fmt::print("FD trained     {:8.2f}\n", judge.samples(pd::AnyDenoiser<B>(averaged.clone())));
  fmt::print("FD untrained   {:8.2f}\n", judge.samples(pd::AnyDenoiser<B>(untrained.clone())));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "quickstart: {}\n", error.what());
    return 1;
  }
}
