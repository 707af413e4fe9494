// SPDX-License-Identifier: Apache-2.0
// DDPM++ on Eigen beside the same network on LibTorch, call by call in turns, by the processor time of all threads.
// Prints medians of ratios and, with --json, writes every figure. Built as deployment_bench for any x86-64, and as
// deployment_bench_native for the machine that compiles it.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/eigen/eigen_song_unet.hpp>
#include <patchdiff/nn/torch/song_unet.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;
using E = pd::EigenBackend<float>;
using T = pd::TorchBackend;

struct Settings {
  std::vector<std::int64_t> batches{1, 16};
  std::vector<std::int64_t> channels{32, 64, 128};
  std::int64_t side = 32;
  std::int64_t calls = 15;
  int threads = 1;
  std::string json;
};

Json measure(const Settings& settings, std::int64_t channels, std::int64_t batch) {
  const pd::SongUNetOptions options{.image = {settings.side, settings.side},
                                    .in_channels = 3 + 2,
                                    .out_channels = 3,
                                    .model_channels = channels,
                                    .channel_mult = {1, 2, 2},
                                    .num_blocks = 1,
                                    .attn_resolutions = {settings.side / 2},
                                    .dropout = 0};
  pd::SongUNet theirs(options, {1});
  pd::ThreadExecutor pool(settings.threads);
  pd::EigenSongUNet<float> ours(options,
                                settings.threads > 1 ? pd::EigenDevice<float>{pool} : pd::EigenDevice<float>{});
  std::map<std::string, std::vector<double>, std::less<>> weights;
  theirs.visit_state([&](std::string_view name, at::Tensor& value) {
    // The last layers of blocks start as almost nothing: all weights of size 0.05 instead.
    std::vector<double> values(static_cast<std::size_t>(value.numel()));
    pd::RandomStream({weights.size()}, pd::Purpose::initial_weights, 0, 0).normals(std::span(values));
    const bool filter = name.ends_with("resample_filter");
    for (double& number : values) number = filter ? 0.25 : 0.05 * number;
    T::assign(value, T::from_host(std::span<const double>(values), T::shape(value), {}));
    weights.emplace(name, std::move(values));
  });
  ours.visit_state([&](std::string_view name, E::Tensor& value) {
    const auto found = weights.find(name);
    if (found == weights.end()) return;
    value.array() = E::from_host(std::span<const double>(found->second), value.shape(), {}).array();
  });
  const pd::Shape shape{batch, options.in_channels, settings.side, settings.side};
  std::vector<double> numbers(static_cast<std::size_t>(pd::element_count(shape)));
  pd::RandomStream({7}, pd::Purpose::initial_noise, 0, 0).normals(std::span(numbers));
  const at::Tensor torch_input = T::from_host(std::span<const double>(numbers), shape, {});
  const E::Tensor eigen_input = E::from_host(std::span<const double>(numbers), shape, ours.device());
  const std::vector<double> c_noise(static_cast<std::size_t>(batch), -0.3);

  at::Tensor expected;
  E::Tensor got;
  const Comparison result(
      settings.calls, [&] { got = ours(eigen_input, c_noise, {}, {}); },
      [&] { expected = theirs(torch_input, c_noise, {}, {}); }, processor_seconds);
  const std::vector<double> values = E::to_host(got);
  const at::Tensor both = T::from_host(std::span<const double>(values), got.shape(), {});
  const double largest = expected.abs().max().item<double>();
  const double error = (both - expected).abs().max().item<double>() / largest;
  if (!(error < 1e-4)) throw std::runtime_error(fmt::format("results differ by {:.2g} of the largest", error));
  fmt::print("{:3} channels, batch {:2}: LibTorch {:8.2f} ms, Eigen {:8.2f} ms, ratio {:.2f} ({:.2f} to {:.2f})\n",
             channels, batch, 1e3 * result.second.median, 1e3 * result.first.median, result.ratio.median,
             result.ratio.least, result.ratio.most);
  return {{"model_channels", channels},           {"batch", batch},
          {"libtorch", to_json(result.second)},   {"eigen", to_json(result.first)},
          {"ratio", ratio_to_json(result.ratio)}, {"largest_difference", error}};
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  Json results = Json::array();
  for (const std::int64_t channels : settings.channels) {
    for (const std::int64_t batch : settings.batches) results.push_back(measure(settings, channels, batch));
  }
  write_figures(settings.json, "deployment_bench",
                {{"benchmark", "deployment"},
                 {"libtorch", TORCH_VERSION},
                 {"simd", Eigen::SimdInstructionSetsInUse()},
                 {"threads", settings.threads},
                 {"side", settings.side},
                 {"calls", settings.calls},
                 {"results", results}});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times DDPM++ on Eigen beside LibTorch's, by processor time.", "deployment_bench"};
  app.add_option("--batch", settings.batches, "images in a call")->delimiter(',');
  app.add_option("--model-channels", settings.channels, "widths of the first level")->delimiter(',');
  app.add_option("--side", settings.side, "side of the images");
  app.add_option("--calls", settings.calls, "timed calls of each kind")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
