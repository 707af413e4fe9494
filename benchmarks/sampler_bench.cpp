// SPDX-License-Identifier: Apache-2.0
// What each sampler costs beyond the calls of its network: 18 steps of the quick start's network, the time inside the
// network beside that of the whole run. Prints medians and, with --json, writes every figure.

#include <cstdint>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings {
  std::int64_t batch = 16;
  std::int64_t steps = 18;
  std::int64_t model_channels = 32;
  int repeats = 5;
  pd::Precision precision = pd::Precision::float32;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string json;
};

/// A network that adds up the time of its calls.
class TimedNetwork {
 public:
  using Backend = B;

  TimedNetwork(pd::SongUNet network, double& total) : network_(std::move(network)), total_(&total) {}

  at::Tensor operator()(const at::Tensor& input, std::span<const double> c_noise,
                        const pd::Conditioning<B>& conditioning, const pd::Pass& pass) const {
    at::Tensor output;
    *total_ += seconds([&] { output = network_(input, c_noise, conditioning, pass); });
    return output;
  }

  std::int64_t input_channels() const { return network_.input_channels(); }
  std::int64_t output_channels() const { return network_.output_channels(); }
  std::int64_t label_dim() const { return network_.label_dim(); }
  std::int64_t size_divisor() const { return network_.size_divisor(); }
  pd::TorchDevice device() const { return network_.device(); }

 private:
  pd::SongUNet network_;
  double* total_;
};

class Bench {
 public:
  explicit Bench(const Settings& settings)
      : settings_(settings),
        denoiser_(TimedNetwork(pd::SongUNet({.image = {32, 32},
                                             .in_channels = 1 + 2,
                                             .out_channels = 1,
                                             .label_dim = 10,
                                             .model_channels = settings.model_channels,
                                             .channel_mult = {1, 1, 2},
                                             .num_blocks = 1,
                                             .attn_resolutions = {8},
                                             .dropout = 0},
                                            {1}),
                               network_seconds_),
                  {.image = {1, 32, 32}, .precision = settings.precision}) {
    request_.seeds = pd::seed_range(1, static_cast<std::size_t>(settings.batch));
    request_.conditioning.class_labels = at::eye(10).slice(0, 0, 1).repeat({settings.batch, 1});
  }

  template <class Solver, class D>
  Json measure(const std::string& name, const Solver& solver, const D& denoiser) {
    const pd::ODESampler sampler({.num_steps = settings_.steps}, solver);
    const auto run = [&] { sampler(denoiser, request_); };
    run();
    std::vector<double> whole, network, beyond;
    for (int repeat = 0; repeat < settings_.repeats; ++repeat) {
      network_seconds_ = 0;
      whole.push_back(seconds(run));
      network.push_back(network_seconds_);
      beyond.push_back(whole.back() / network_seconds_ - 1);
    }
    const double percent = 100 * spread_of(beyond).median;
    fmt::print("{:26} run {:8.1f} ms, network {:8.1f} ms, beyond it {:5.2f} %\n", name, 1e3 * spread_of(whole).median,
               1e3 * spread_of(network).median, percent);
    return {{"sampler", name},
            {"run", to_json(spread_of(whole))},
            {"network", to_json(spread_of(network))},
            {"beyond_percent", percent}};
  }

  Json measure_all() {
    Json results = Json::array();
    results.push_back(measure("Euler", pd::Euler{}, denoiser_));
    results.push_back(measure("Heun", pd::Heun{}, denoiser_));
    results.push_back(measure("Heun, guided", pd::Heun{}, pd::GuidedDenoiser(denoiser_, 1.5)));
    results.push_back(measure("midpoint", pd::Heun{0.5}, denoiser_));
    results.push_back(measure("DPM-Solver++(2M)", pd::DPMSolverPP2M{}, denoiser_));
    results.push_back(measure("DPM-Solver++(2M) SDE", pd::DPMSolverPP2M{1}, denoiser_));
    results.push_back(measure("ancestral Euler", pd::AncestralEuler{}, denoiser_));
    results.push_back(measure("Heun with churn", pd::Churn<pd::Heun>{{.s_churn = 10}}, denoiser_));
    results.push_back(measure("Euler-Maruyama", pd::EulerMaruyama{}, denoiser_));
    results.push_back(measure("predictor-corrector", pd::PredictorCorrector<>{}, denoiser_));
    return results;
  }

 private:
  Settings settings_;
  double network_seconds_ = 0;
  pd::DenoiserWrapper<TimedNetwork> denoiser_;
  pd::SampleRequest<B> request_{};
};

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  Bench bench(settings);
  const Json figures{{"benchmark", "sampler"},      {"libtorch", TORCH_VERSION},
                     {"compiler", __VERSION__},     {"dtype", pd::name_of(settings.precision)},
                     {"threads", settings.threads}, {"batch", settings.batch},
                     {"steps", settings.steps},     {"results", bench.measure_all()}};
  write_figures(settings.json, "sampler_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times samplers beside the calls of their network.", "sampler_bench"};
  app.add_option("--batch", settings.batch, "images of a run")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--steps", settings.steps, "of the sampler")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--model-channels", settings.model_channels, "width of the first level")->capture_default_str();
  app.add_option("--repeats", settings.repeats, "timed runs of each sampler")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_dtype(app, settings.precision);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_benchmark(app, argc, argv, [&] { run(settings); });
}
