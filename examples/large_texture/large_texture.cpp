// SPDX-License-Identifier: Apache-2.0
// Trains on patches of at most 64 pixels of one large texture, and draws another texture of that size from windows.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/learning_rate.hpp>

#include "comparison.hpp"
#include "shared/process_memory.hpp"
#include "shared/run_program.hpp"
#include "shared/stopwatch.hpp"
#include "shared/training_lines.hpp"
#include "texture.hpp"
#include "tiling.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;
using Denoiser = pd::DenoiserWrapper<pd::SongUNet>;

struct Settings {
  fs::path out = "large-texture-out";
  std::int64_t side = 4096;
  double minutes = 9;
  std::int64_t steps = 6;
};

/// The averaged model after training for some minutes; no full image is ever seen.
Denoiser train(const pd::MappedArray& texture, double minutes) {
  const pd::ImageShape image = texture.shape();
  pd::SongUNet network({.image = image.size(),
                        .in_channels = 1 + 2,
                        .out_channels = 1,
                        .model_channels = 16,
                        .channel_mult = {1, 1, 2},
                        .num_blocks = 1,
                        .attn_resolutions = {},
                        .dropout = 0},
                       {1});
  const auto equal_pixels = [](pd::ImageSize, pd::ImageSize patch) { return 64 * 64 / pd::pixel_count(patch); };
  const pd::PatchSizes sizes{.image = image.size(),
                             .sizes = {{64, 64}, {32, 32}},
                             .probabilities = {0.6, 0.4},
                             .multiplier = {"equal_pixels", equal_pixels},
                             .size_divisor = network.size_divisor()};
  Denoiser denoiser{std::move(network),
                    {.image = image, .precision = pd::usable_precision(pd::Precision::bfloat16, {})}};
  const auto sigma = pd::SigmaDistribution::log_normal(-0.4, 1.4);  // up to the sampler's 20
  const pd::TrainStep<B> step{{.schedule = pd::PatchSizeSchedule::stochastic_of(sizes),
                               .batch = 16,
                               .loss = {.sigma = sigma, .reduction = pd::Reduction::mean}}};
  const pd::PatchLoader<B, pd::MappedArray> loader(texture, {}, {.seed = 1});
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser, {.rampup_ratio = 0.05});
  pd::TrainState state{.seed = 1};
  TrainingLines lines;
  for (double progress = 0; progress < 1;) {
    optimizer.set_learning_rate(pd::cosine_learning_rate(2e-3, progress, 0.03));
    const pd::PatchPlan plan = step.plan(state);
    const auto report = step(denoiser, optimizer, loader.take(plan), plan, state);
    ema.update(denoiser, state);
    progress = lines.seconds() / (60 * minutes);
    lines.add(state, report.loss(), progress >= 1);
  }
  return ema.apply_to(denoiser.clone());
}

/// Another texture, from windows.
at::Tensor draw(const Denoiser& denoiser, std::int64_t steps) {
  pd::TilingReport report{.plan = plan_windows(denoiser, {64, 64}, steps)};
  fmt::print("{}\n", pd::to_string(report.plan));
  const pd::TiledDenoiser tiled(denoiser, report.plan.tiling);
  const pd::ODESampler sampler(
      {.num_steps = steps, .schedule = pd::SigmaSchedule::edm({.sigma_min = 0.01, .sigma_max = 20})},
      pd::DPMSolverPP2M{});
  const at::Tensor drawn = sampler(tiled, {.seeds = {1}}, [&](const auto& progress) {
    fmt::print("step {} of {}, sigma {:.4f}\n", progress.step, progress.num_steps, progress.sigma);
    std::fflush(stdout);
    return pd::Flow::proceed;
  });
  report.seams = pd::seam_score<B>(drawn, tiled.grid(denoiser.image().size(), 0));
  fmt::print("{}\n", pd::to_string(report));
  return drawn;
}

void run(const Settings& settings) {
  const Stopwatch start;
  at::set_num_threads(2);
  fs::create_directories(settings.out);
  const pd::ArrayLayout layout = write_texture(settings.out / "texture.npy", settings.side, 1);
  const pd::MappedArray texture(settings.out / "texture.npy", layout);
  const Denoiser denoiser = train(texture, settings.minutes);
  write_comparison(settings.out, texture, draw(denoiser, settings.steps));
  fmt::print("wrote whole.png and part.png, texture left and drawn right, after {:.0f} s\n", start.seconds());
  fmt::print("peak memory {} MiB, of files {} MiB\n", process_memory("VmHWM") >> 20, process_memory("RssFile") >> 20);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains on patches of a large texture, and draws another one from windows.", "large_texture"};
  app.add_option("--out", settings.out, "folder for texture.npy and the pictures");
  app.add_option("--side", settings.side, "of the texture, in pixels")->check(CLI::IsMember({512, 1024, 2048, 4096}));
  app.add_option("--minutes", settings.minutes, "time to train for")->check(CLI::PositiveNumber);
  app.add_option("--steps", settings.steps, "of the sampler")->check(CLI::PositiveNumber);
  return run_program(app, argc, argv, [&] { run(settings); });
}
