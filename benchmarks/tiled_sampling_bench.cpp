// SPDX-License-Identifier: Apache-2.0
// Time and memory of tiled sampling as the image grows: one call of TiledDenoiser, and a whole run of DPM-Solver++(2M).
// Prints a line per image and, with --json, writes every figure.

#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"
#include "shared/process_memory.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;
using Denoiser = pd::DenoiserWrapper<pd::SongUNet>;

struct Settings {
  std::vector<std::int64_t> sides{256, 512, 1024, 2048, 4096};
  std::int64_t window = 64;
  std::int64_t model_channels = 16;
  double calls_per_pixel = 1.6;
  std::int64_t budget = 64;
  std::int64_t steps = 2;
  pd::Precision precision = pd::Precision::float32;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string json;
};

struct Cost {
  double seconds = 0;
  double bytes = 0;  ///< resident at most, beyond those before
};

template <class F>
Cost cost(const F& work) {
  malloc_trim(0);
  forget_peak_memory();
  const std::int64_t before = process_memory("VmRSS");
  const double passed = seconds(work);
  return {passed, static_cast<double>(process_memory("VmHWM") - before)};
}

Json measure(const Settings& settings, std::int64_t side) {
  const pd::ImageShape image{1, side, side};
  pd::SongUNet network({.image = image.size(),
                        .in_channels = 1 + 2,
                        .out_channels = 1,
                        .model_channels = settings.model_channels,
                        .channel_mult = {1, 2, 2},
                        .num_blocks = 1,
                        .attn_resolutions = {},
                        .dropout = 0},
                       {1});
  const Denoiser denoiser{std::move(network), {.image = image, .precision = settings.precision}};
  const std::vector<double> sigma{1};
  const auto window_bytes = [&](pd::ImageSize window) {
    const pd::TiledDenoiser tiled(denoiser, {.window = window});
    const at::Tensor noise = at::zeros({1, 1, window.height, window.width});
    return pd::peak_torch_bytes([&] { tiled(noise, sigma, pd::Places::whole(window, 1)); });
  };
  const pd::TilingPlan plan = pd::plan_tiling({.image = image.size(),
                                               .budget = settings.budget << 20,
                                               .largest_window = {settings.window, settings.window},
                                               .size_divisor = denoiser.network().size_divisor(),
                                               .calls_per_pixel = settings.calls_per_pixel,
                                               .window_bytes = window_bytes});
  const pd::TiledDenoiser tiled(denoiser, plan.tiling);
  const at::Tensor noisy = at::zeros({1, 1, side, side});
  const Cost call = cost([&] { tiled(noisy, sigma, pd::Places::whole(image.size(), 1)); });
  const pd::ODESampler sampler({.num_steps = settings.steps}, pd::DPMSolverPP2M{});
  const Cost run = cost([&] { sampler(tiled, {.seeds = {1}}); });

  const auto pixels = static_cast<double>(pd::pixel_count(image.size()));
  const double network_pixels = pixels * plan.calls_per_pixel;
  const double beyond = call.bytes - 4 * pixels;
  constexpr double mib = 1 << 20;
  fmt::print(
      "{:5}^2: {:8.2f} s a call, {:6.1f} ns per pixel of the network, {:6.1f} MiB beside the result (planned {:.1f}); "
      "{:8.2f} s a run of {} steps, {:7.1f} MiB, {:.2f} copies of the state\n",
      side, call.seconds, 1e9 * call.seconds / network_pixels, beyond / mib, static_cast<double>(plan.bytes) / mib,
      run.seconds, settings.steps, run.bytes / mib, run.bytes / (8 * pixels));
  std::fflush(stdout);
  return {{"side", side},
          {"window", plan.tiling.window.height},
          {"overlap", plan.tiling.overlap},
          {"chunk", plan.tiling.chunk},
          {"windows", plan.windows},
          {"calls_per_pixel", plan.calls_per_pixel},
          {"planned_bytes", plan.bytes},
          {"call_seconds", call.seconds},
          {"call_ns_per_network_pixel", 1e9 * call.seconds / network_pixels},
          {"call_bytes_beside_result", beyond},
          {"run_seconds", run.seconds},
          {"run_bytes", run.bytes},
          {"run_copies_of_state", run.bytes / (8 * pixels)}};
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  measure(settings, std::max(settings.window, settings.sides.front()));  // warms LibTorch up
  Json results = Json::array();
  for (const std::int64_t side : settings.sides) results.push_back(measure(settings, side));
  const Json figures{{"benchmark", "tiled_sampling"},
                     {"libtorch", TORCH_VERSION},
                     {"threads", settings.threads},
                     {"dtype", pd::name_of(settings.precision)},
                     {"model_channels", settings.model_channels},
                     {"steps", settings.steps},
                     {"results", results}};
  write_figures(settings.json, "tiled_sampling_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Time and memory of tiled sampling as the image grows.", "tiled_sampling_bench"};
  app.add_option("--side", settings.sides, "sides of the images")->delimiter(',');
  app.add_option("--window", settings.window, "side of the windows");
  app.add_option("--model-channels", settings.model_channels, "width of the first level");
  app.add_option("--calls", settings.calls_per_pixel, "windows over a pixel, at most");
  app.add_option("--budget", settings.budget, "memory for a chunk of windows, in MiB");
  app.add_option("--steps", settings.steps, "of the sampler")->check(CLI::PositiveNumber);
  add_dtype(app, settings.precision);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
