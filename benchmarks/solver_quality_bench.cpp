// SPDX-License-Identifier: Apache-2.0
// How good a model's images are by the number of the network's calls: the Fréchet distance of samples of each solver.
// Prints a line per run and, with --json, writes every figure; solver_quality_plot.py draws them.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/torch.hpp>

#include "fashion_features.hpp"
#include "measure.hpp"
#include "sample_judge.hpp"
#include "shared/fashion_mnist.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings {
  fs::path model = "quickstart-out/model.safetensors", data = fashion_mnist_folder;
  std::vector<std::int64_t> calls{3, 5, 7, 11, 17};
  std::int64_t count = 1000;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string json;
};

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  pd::AnyDenoiser<B> denoiser(pd::model_file::load<pd::SongUNet>(settings.model));
  const pd::ArrayDataset test = fashion_mnist(settings.data, "t10k");
  Json results = Json::array();
  for (const pd::SolverName name : {pd::SolverName::euler, pd::SolverName::heun, pd::SolverName::dpmpp_2m}) {
    for (const std::int64_t calls : settings.calls) {
      const std::int64_t steps = name == pd::SolverName::heun ? (calls + 1) / 2 : calls;
      const SampleJudge judge(fashion_features(), pd::AnyDataset(test),
                              {.count = settings.count, .solver = {name}, .num_steps = steps});
      const double distance = judge.samples(denoiser);
      fmt::print("{:10} {:3} calls, {:3} steps: Fréchet distance {:7.2f}\n", pd::name_of(name), calls, steps, distance);
      std::fflush(stdout);
      results.push_back(
          {{"solver", pd::name_of(name)}, {"calls", calls}, {"steps", steps}, {"frechet_distance", distance}});
    }
  }
  const Json figures{{"benchmark", "solver_quality"},
                     {"libtorch", TORCH_VERSION},
                     {"model", settings.model.filename().string()},
                     {"samples", settings.count},
                     {"results", results}};
  write_figures(settings.json, "solver_quality_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Fréchet distances of samples by solver and number of calls of the network.", "solver_quality_bench"};
  app.add_option("--model", settings.model, "what the quick start trained");
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's four IDX files");
  app.add_option("--calls", settings.calls, "odd numbers of calls for a sample")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_option("--count", settings.count, "samples of each run")->check(CLI::Range(2, 50000));
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
