// SPDX-License-Identifier: Apache-2.0
// A whole TrainStep beside forward, backward and LibTorch's Adam on prepared tensors of the same shapes, step by step
// in turns: of the same network, of the same network written plainly with LibTorch's modules in float32 (and under
// LibTorch's autocast), and the step's convolutions and matrix products alone. Outputs and gradients are compared
// before. Prints medians of processor time, which other work on the machine disturbs least, or of the time by the clock
// on other devices, and, with --json, writes every figure.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/adam.h>

#include <patchdiff/nn/torch/autocast_guard.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"
#include "operator_replay.hpp"
#include "plain_unet.hpp"
#include "unet_settings.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings : UNetSettings {
  pd::Precision precision = pd::Precision::float32;
};

/// A model, the same network alone, and the same one in plain LibTorch: of equal weights and shapes.
class Steps {
 public:
  Steps(const Settings& settings, std::int64_t patch)
      : settings_(settings),
        denoiser_(pd::SongUNet(settings.network(), {1}, settings.device.torch_device()),
                  {.image = settings.image(), .precision = settings.precision}),
        raw_(settings.network(), {1}, settings.device.torch_device()),
        plain_(settings.network()),
        raw_adam_(raw_.parameters(), torch::optim::AdamOptions(1e-4)),
        plain_adam_(plain_.parameters(), torch::optim::AdamOptions(1e-4)),
        step_({.schedule = pd::PatchSizeSchedule::stochastic_of({.image = settings.image().size(),
                                                                 .sizes = {{patch, patch}},
                                                                 .multiplier = pd::MultiplierRule::constant(1)}),
               .batch = settings.batch}),
        adam_({.learning_rate = 1e-4}),
        ema_(denoiser_) {
    const std::int64_t n = settings.batch, channels = settings.image_channels;
    const at::TensorOptions options = settings.device.options();
    plain_.to(settings.device.torch_device().device);
    batch_.images = at::randn({n, channels, settings.resolution, settings.resolution}, options) * 0.5;
    batch_.class_labels = settings.labels(n);
    conditioning_.class_labels = batch_.class_labels;
    input_ = at::randn({n, channels + 2, patch, patch}, options);
    target_ = at::randn({n, channels, patch, patch}, options);
    noise_ = at::full({n}, -0.3, options);
    c_noise_.assign(static_cast<std::size_t>(n), -0.3);
    plain_.copy_weights(raw_);
    plain::require_equal(raw_, plain_, {input_, noise_, target_, conditioning_}, settings.precision,
                         settings.precision == pd::Precision::float32 ? 1e-4 : 0.1);
  }

  /// All that a host pays for: plan, crop, coordinates, noise, loss, backward, check, Adam, average.
  void whole() {
    const pd::PatchPlan plan = step_.plan(state_);
    step_(denoiser_, adam_, batch_, plan, state_);
    ema_.update(denoiser_, state_);
  }

  /// The network alone.
  void raw() {
    take(raw_adam_, [&] {
      return raw_.record(input_, c_noise_, conditioning_, {.training = true, .precision = settings_.precision}).root;
    });
  }

  /// The network as a host would write it with LibTorch alone, under its autocast where that is not float32.
  void plain(pd::Precision precision) {
    take(plain_adam_, [&] {
      const pd::AutocastGuard autocast(input_.device().type(), precision);
      return plain_.forward(input_, noise_, batch_.class_labels.value_or(at::Tensor()));
    });
  }

 private:
  template <class F>
  void take(torch::optim::Adam& adam, const F& forward) {
    adam.zero_grad();
    const at::AutoGradMode with_gradients(true);
    const at::Tensor loss = (forward() - target_).square().sum() / static_cast<double>(settings_.batch);
    torch::autograd::backward({loss}, {});
    adam.step();
  }

  Settings settings_;
  pd::DenoiserWrapper<pd::SongUNet> denoiser_;
  pd::SongUNet raw_;
  plain::UNet plain_;
  torch::optim::Adam raw_adam_, plain_adam_;
  pd::TrainStep<B> step_;
  pd::Adam<B> adam_;
  pd::EMA<B> ema_;
  pd::TrainState state_{.seed = 1};
  pd::ImageBatch<B> batch_{};
  at::Tensor input_{}, target_{}, noise_{};
  std::vector<double> c_noise_{};
  pd::Conditioning<B> conditioning_{};
};

Json figures_of(const Times& times) {
  return {{"elapsed", to_json(spread_of(times.elapsed))}, {"processor", to_json(spread_of(times.processor))}};
}

Json measure(const Settings& settings, std::int64_t patch) {
  Steps steps(settings, patch);
  const OperatorReplay products([&] { steps.raw(); });
  const bool by_autocast = settings.precision != pd::Precision::float32;
  std::vector<std::function<void()>> kinds{[&] { steps.whole(); }, [&] { steps.raw(); },
                                           [&] { steps.plain(pd::Precision::float32); }, [&] { products(); }};
  if (by_autocast) kinds.push_back([&] { steps.plain(settings.precision); });
  std::vector<Times> times(kinds.size());
  constexpr std::int64_t warm_up = 3;
  for (std::int64_t step = -warm_up; step < settings.steps; ++step) {
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
      const auto work = [&] {
        kinds[kind]();
        settings.device.wait();
      };
      step < 0 ? work() : times[kind].add(work);
    }
  }
  const auto judged = [&](const Times& kind) { return settings.device.judged(kind); };
  const auto ratio = [&](const Times& of, const Times& by) { return ratios_of(judged(of), judged(by)).median; };
  const auto &whole = times[0], &raw = times[1], &plain = times[2], &alone = times[3];
  const double gain = ratio(plain, whole), overhead = ratio(whole, raw) - 1, share = ratio(alone, whole);
  const double images = static_cast<double>(settings.batch) / spread_of(whole.elapsed).median;
  fmt::print(
      "patch {:4}: step {:8.2f} ms, {:.2f} times as fast as plain LibTorch in float32 ({:.2f} ms); convolutions and "
      "products alone {:.0f} % of it; beyond the raw network {:+.1f} %; {:.0f} images/s\n",
      patch, 1e3 * spread_of(judged(whole)).median, gain, 1e3 * spread_of(judged(plain)).median, 100 * share,
      100 * overhead, images);
  Json figures{{"patch", patch},
               {"step", figures_of(whole)},
               {"raw", figures_of(raw)},
               {"plain", figures_of(plain)},
               {"products", figures_of(alone)},
               {"gain_over_plain", gain},
               {"products_share", share},
               {"overhead_percent", 100 * overhead},
               {"images_per_second", images}};
  if (by_autocast) {
    const double beside_autocast = ratio(times[4], whole);
    fmt::print("            {:.2f} times as fast as plain LibTorch under its autocast ({:.2f} ms)\n", beside_autocast,
               1e3 * spread_of(judged(times[4])).median);
    figures["plain_autocast"] = figures_of(times[4]);
    figures["gain_over_autocast"] = beside_autocast;
  }
  std::fflush(stdout);
  return figures;
}

void run(Settings& settings) {
  settings.settle();
  Json results = Json::array();
  for (const std::int64_t patch : settings.patches) results.push_back(measure(settings, patch));
  Json figures = settings.described("train_step");
  figures["dtype"] = pd::name_of(settings.precision);
  figures["results"] = results;
  write_figures(settings.json, "train_step_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times a training step beside LibTorch alone in the same run.", "train_step_bench"};
  settings.add_to(app, "step");
  settings.device.add_to(app);
  add_dtype(app, settings.precision);
  return run_program(app, argc, argv, [&] { run(settings); });
}
