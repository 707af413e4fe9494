// SPDX-License-Identifier: Apache-2.0
// Trains on patches of at most 64 pixels of one large texture, and draws another texture of that size from windows.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/avg_pool2d.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/learning_rate.hpp>

#include "process_memory.hpp"
#include "texture.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;
using Denoiser = pd::DenoiserWrapper<pd::SongUNet>;
using Clock = std::chrono::steady_clock;

struct Settings {
  fs::path out = "large-texture-out";
  std::int64_t side = 4096;
  double minutes = 9;
  std::int64_t steps = 6;
  double calls = 10;
  std::int64_t budget = 128;
  pd::Fusion fusion = pd::Fusion::feathered;
  int threads = 2;
  std::uint64_t seed = 1;
  pd::Precision precision = pd::Precision::bfloat16;
};

constexpr pd::ImageSize largest_patch{64, 64};
constexpr std::int64_t batch = 16;
constexpr double learning_rate = 2e-3;

Settings parse(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains on patches of one large texture, and draws another one of that size from windows."};
  app.add_option("--out", settings.out, "folder for texture.npy and the pictures")->capture_default_str();
  app.add_option("--side", settings.side, "of the texture, in pixels")
      ->check(CLI::Range(512, 1 << 15))
      ->capture_default_str();
  app.add_option("--minutes", settings.minutes, "time to train for")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--steps", settings.steps, "of the sampler")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--calls", settings.calls, "of the network per pixel, over all steps; sets the windows' overlap")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--budget", settings.budget, "memory for one call's windows, in MiB")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--fusion", settings.fusion, "uniform, feathered (the default) or shifted")
      ->transform(CLI::CheckedTransformer(pd::values_by_name<pd::Fusion>()));
  app.add_option("--threads", settings.threads, "threads for LibTorch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", settings.seed, "seed of every random draw")->capture_default_str();
  app.add_option("--precision", settings.precision, "of convolutions; bfloat16 where the processor has it")
      ->transform(CLI::CheckedTransformer(pd::values_by_name<pd::Precision>()));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  return settings;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double memory_in_mib(std::string_view figure) { return static_cast<double>(process_memory(figure)) / (1 << 20); }

/// The averaged model after training for the settings' minutes; no full image is ever seen.
Denoiser train(const pd::MappedArray& texture, const Settings& settings) {
  const pd::ImageShape image = texture.shape();
  pd::SongUNet network({.image = image.size(),
                        .in_channels = 1 + 2,
                        .out_channels = 1,
                        .model_channels = 16,
                        .channel_mult = {1, 1, 2},
                        .num_blocks = 1,
                        .attn_resolutions = {},
                        .dropout = 0},
                       {settings.seed});
  const pd::PatchSizes sizes{.image = image.size(),
                             .sizes = {largest_patch, {32, 32}},
                             .probabilities = {0.6, 0.4},
                             .multiplier = {"equal_pixels",
                                            [](pd::ImageSize, pd::ImageSize patch) {
                                              return pd::pixel_count(largest_patch) / pd::pixel_count(patch);
                                            }},
                             .size_divisor = network.size_divisor()};
  const pd::Precision precision = pd::usable_precision(
      settings.precision, {}, [](std::string_view text) { fmt::print(stderr, "large_texture: {}\n", text); });
  Denoiser denoiser{std::move(network), {.image = image, .precision = precision}};
  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic_of(sizes),
       .batch = batch,
       .loss = {.sigma = pd::SigmaDistribution::log_normal(-0.4, 1.4),  // up to the sampler's 20
                .reduction = pd::Reduction::mean}}};
  const pd::PatchLoader<B, pd::MappedArray> loader(texture, {}, {.seed = settings.seed});
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser, {.rampup_ratio = 0.05});
  pd::TrainState state{.seed = settings.seed};
  const auto start = Clock::now();
  double progress = 0, shown = 0, loss = 0;
  int steps = 0;
  while (progress < 1) {
    optimizer.set_learning_rate(pd::cosine_learning_rate(learning_rate, progress, 0.03));
    const pd::PatchPlan plan = step.plan(state);
    loss += step(denoiser, optimizer, loader.take(plan), plan, state).loss();
    ema.update(denoiser, state);
    ++steps;
    progress = seconds_since(start) / (60 * settings.minutes);
    if (progress - shown >= 0.1 || progress >= 1) {
      fmt::print("{:4.0f} s  step {:5}  patches {:7}  mean loss {:.4f}\n", seconds_since(start), state.step,
                 state.patches, loss / steps);
      std::fflush(stdout);
      shown = progress, loss = 0, steps = 0;
    }
  }
  return ema.apply_to(denoiser.clone());
}

/// What a chunk of windows takes, planned for the budget and the calls of the settings.
pd::TilingPlan plan(const Denoiser& denoiser, const Settings& settings) {
  const auto window_bytes = [&](pd::ImageSize window) {
    const pd::TiledDenoiser tiled(denoiser, {.window = window});
    const at::Tensor noise = at::zeros({1, 1, window.height, window.width});
    const std::vector<double> sigma{1};
    return pd::peak_torch_bytes([&] { tiled(noise, sigma, pd::Places::whole(window, 1)); });
  };
  return pd::plan_tiling({.image = denoiser.image().size(),
                          .budget = settings.budget << 20,
                          .largest_window = largest_patch,
                          .size_divisor = denoiser.network().size_divisor(),
                          .calls_per_pixel = settings.calls / static_cast<double>(settings.steps),
                          .fusion = settings.fusion,
                          .seed = settings.seed,
                          .window_bytes = window_bytes});
}

/// The whole image as a picture of 512 pixels, and 512 pixels as they are, around corners of windows.
class Views {
 public:
  /// Takes bands of rows [1, 1, h, side] from the top down.
  explicit Views(std::int64_t side) : factor_(side / 512), crop_(side / 2 - 200) {}

  void add(const at::Tensor& band) {
    const at::Tensor rows = band.to(at::kFloat);
    whole_.push_back(at::avg_pool2d(rows, {factor_, factor_}));
    const std::int64_t first = std::clamp<std::int64_t>(crop_ - seen_, 0, band.size(2));
    const std::int64_t end = std::clamp<std::int64_t>(crop_ + 400 - seen_, first, band.size(2));
    part_.push_back(rows.narrow(2, first, end - first).narrow(3, crop_, 400));
    seen_ += band.size(2);
    const at::Tensor exact = band.to(at::kDouble);
    sum_ += exact.sum().item<double>();
    squares_ += exact.square().sum().item<double>();
    count_ += static_cast<double>(exact.numel());
  }

  at::Tensor whole() const { return at::cat(whole_, 2); }
  at::Tensor part() const { return at::cat(part_, 2); }
  double mean() const { return sum_ / count_; }
  double deviation() const { return std::sqrt(squares_ / count_ - mean() * mean()); }

 private:
  std::int64_t factor_, crop_, seen_ = 0;
  std::vector<at::Tensor> whole_, part_;
  double sum_ = 0, squares_ = 0, count_ = 0;
};

void write_pair(const fs::path& path, const at::Tensor& texture, const at::Tensor& drawn) {
  const at::Tensor pair = at::cat({texture, drawn}, 0);
  pd::write_png(path, pd::ImageGrid({.columns = 2, .margin = 4})(B::to_host(pair), B::shape(pair)));
}

void run(const Settings& settings) {
  const auto start = Clock::now();
  if (settings.side % 512 != 0) {
    throw pd::ConfigError("--side", "side", "a multiple of 512", std::to_string(settings.side));
  }
  at::set_num_threads(settings.threads);
  fs::create_directories(settings.out);
  const std::int64_t side = settings.side, band = side / 512;
  const pd::ArrayLayout layout = write_texture(settings.out / "texture.npy", side, settings.seed);
  const pd::MappedArray texture(settings.out / "texture.npy", layout);
  fmt::print("texture of {}x{} after {:.0f} s\n", side, side, seconds_since(start));
  const Denoiser denoiser = train(texture, settings);
  fmt::print("trained after {:.0f} s, peak memory {:.0f} MiB\n", seconds_since(start), memory_in_mib("VmHWM"));

  pd::TilingReport report{.plan = plan(denoiser, settings)};
  fmt::print("{}\n", pd::to_string(report.plan));
  const pd::TiledDenoiser tiled(denoiser, report.plan.tiling);
  const pd::ODESampler sampler(
      {.num_steps = settings.steps, .schedule = pd::SigmaSchedule::edm({.sigma_min = 0.01, .sigma_max = 20})},
      pd::DPMSolverPP2M{});
  double last_sigma = 0;
  const at::Tensor drawn = sampler(tiled, {.seeds = {settings.seed}}, [&](const auto& progress) {
    last_sigma = progress.sigma;
    fmt::print("{:4.0f} s  step {} of {}, sigma {:.4f}\n", seconds_since(start), progress.step, progress.num_steps,
               progress.sigma);
    std::fflush(stdout);
    return pd::Flow::proceed;
  });
  const pd::WindowGrid grid = tiled.grid({side, side}, last_sigma);
  report.seams = pd::seam_score<B>(drawn, grid);
  fmt::print("{}\n", pd::to_string(report));
  fmt::print("{:.2f} network calls per pixel in all\n",
             report.plan.calls_per_pixel * static_cast<double>(settings.steps));

  Views of_texture(side), of_drawn(side);
  std::vector<float> values(static_cast<std::size_t>(band * side));
  for (std::int64_t row = 0; row < side; row += band) {
    texture.read_patch(0, pd::Place::at(row, 0), {band, side}, values);
    of_texture.add(B::from_host(std::span<const float>(values), {1, 1, band, side}, {}));
    of_drawn.add(drawn.narrow(2, row, band));
  }
  write_pair(settings.out / "whole.png", of_texture.whole(), of_drawn.whole());
  write_pair(settings.out / "part.png", of_texture.part(), of_drawn.part());
  fmt::print("standard deviation {:.4f} (the texture's own: {:.4f}), mean {:.4f} ({:.4f})\n", of_drawn.deviation(),
             of_texture.deviation(), of_drawn.mean(), of_texture.mean());
  fmt::print("wrote whole.png and part.png, texture left and drawn right, to {} after {:.0f} s\n",
             settings.out.string(), seconds_since(start));
  fmt::print("peak memory {:.0f} MiB, of files {:.0f} MiB\n", memory_in_mib("VmHWM"), memory_in_mib("RssFile"));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (const std::exception& error) {
    fmt::print(stderr, "large_texture: {}\n", error.what());
    return 1;
  }
}
