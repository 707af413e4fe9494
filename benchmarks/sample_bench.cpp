// SPDX-License-Identifier: Apache-2.0
// What samplers cost beyond the calls of their network: the time inside the network beside that of the whole run, of
// whole images or of windows of --patch. Prints medians of processor time, or by the clock on other devices, which are
// waited for after each call, and, with --json, writes every figure.

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"
#include "unet_settings.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings : UNetSettings {
  pd::Precision precision = pd::Precision::float32;
  std::int64_t num_steps = 18;
  bool all_solvers = false;
};

/// A network that adds up the time of its calls.
class TimedNetwork {
 public:
  using Backend = B;

  TimedNetwork(pd::SongUNet network, const ComputeDevice& device, double& total)
      : network_(std::move(network)), device_(&device), total_(&total) {}

  at::Tensor operator()(const at::Tensor& input, std::span<const double> c_noise,
                        const pd::Conditioning<B>& conditioning, const pd::Pass& pass) const {
    at::Tensor output;
    *total_ += seconds([&] { output = network_(input, c_noise, conditioning, pass); }, [&] { return device_->now(); });
    return output;
  }

  std::int64_t input_channels() const { return network_.input_channels(); }
  std::int64_t output_channels() const { return network_.output_channels(); }
  std::int64_t label_dim() const { return network_.label_dim(); }
  std::int64_t size_divisor() const { return network_.size_divisor(); }
  pd::TorchDevice device() const { return network_.device(); }

 private:
  pd::SongUNet network_;
  const ComputeDevice* device_;
  double* total_;
};

class Bench {
 public:
  Bench(const Settings& settings, std::int64_t side)
      : settings_(settings),
        denoiser_(TimedNetwork(pd::SongUNet(settings.network(), {1}, settings.device.torch_device()), settings_.device,
                               network_seconds_),
                  {.image = settings.image(), .precision = settings.precision}) {
    request_.seeds = pd::seed_range(1, static_cast<std::size_t>(settings.batch));
    request_.conditioning.class_labels = settings.labels(settings.batch);
    if (side != settings.resolution) request_.window = pd::Window{0, 0, side, side};
  }

  template <class Solver, class D>
  Json measure(const std::string& name, const Solver& solver, const D& denoiser) {
    const pd::ODESampler sampler({.num_steps = settings_.num_steps}, solver);
    const auto run = [&] { sampler(denoiser, request_); };
    run();
    Times whole;
    std::vector<double> network, beyond;
    for (std::int64_t repeat = 0; repeat < settings_.steps; ++repeat) {
      network_seconds_ = 0;
      whole.add([&] {
        run();
        settings_.device.wait();
      });
      network.push_back(network_seconds_);
      beyond.push_back(settings_.device.judged(whole).back() / network_seconds_ - 1);
    }
    const double percent = 100 * spread_of(beyond).median;
    const double images = static_cast<double>(settings_.batch) / spread_of(whole.elapsed).median;
    fmt::print("{:26} run {:8.1f} ms, network {:8.1f} ms, beyond it {:5.2f} %, {:7.1f} images/s\n", name,
               1e3 * spread_of(settings_.device.judged(whole)).median, 1e3 * spread_of(network).median, percent,
               images);
    std::fflush(stdout);
    return {{"sampler", name},
            {"elapsed", to_json(spread_of(whole.elapsed))},
            {"run", to_json(spread_of(settings_.device.judged(whole)))},
            {"network", to_json(spread_of(network))},
            {"beyond_percent", percent},
            {"images_per_second", images}};
  }

  Json measure_all() {
    Json results = Json::array();
    results.push_back(measure("Heun", pd::Heun{}, denoiser_));
    if (settings_.label_dim > 0) {
      results.push_back(measure("Heun, guided", pd::Heun{}, pd::GuidedDenoiser(denoiser_, 1.5)));
    }
    if (!settings_.all_solvers) return results;
    results.push_back(measure("Euler", pd::Euler{}, denoiser_));
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

void run(Settings& settings) {
  settings.settle();
  if (settings.patches.empty()) settings.patches = {settings.resolution};
  Json results = Json::array();
  for (const std::int64_t side : settings.patches) {
    Bench bench(settings, side);
    results.push_back({{"side", side}, {"samplers", bench.measure_all()}});
  }
  Json figures = settings.described("sample");
  figures.update({{"dtype", pd::name_of(settings.precision)}, {"num_steps", settings.num_steps}, {"results", results}});
  write_figures(settings.json, "sample_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  settings.channel_mult = {1, 1, 2};
  settings.patches = {};
  settings.batch = 16;
  settings.steps = 5;
  CLI::App app{"Times samplers beside the calls of their network.", "sample_bench"};
  settings.add_to(app, "run");
  app.add_option("--num-steps", settings.num_steps, "steps of a run")->check(CLI::PositiveNumber);
  app.add_flag("--all-solvers", settings.all_solvers, "every solver, not Heun's alone");
  settings.device.add_to(app);
  add_dtype(app, settings.precision);
  return run_program(app, argc, argv, [&] { run(settings); });
}
