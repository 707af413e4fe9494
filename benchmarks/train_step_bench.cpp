// SPDX-License-Identifier: Apache-2.0
// A whole TrainStep beside the same network's raw forward, backward and LibTorch's Adam on prepared tensors of the same
// shapes, step by step in turns; and the crop with its coordinates beside a copy of the same bytes. Prints medians and,
// with --json, writes every figure.

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/adam.h>
#include <torch/version.h>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/torch.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings {
  std::int64_t resolution = 32;
  std::int64_t image_channels = 1;
  std::int64_t label_dim = 10;
  std::int64_t model_channels = 32;
  std::vector<std::int64_t> channel_mult{1, 2, 2};
  std::int64_t num_blocks = 1;
  std::vector<std::int64_t> attn_resolutions{8};
  std::vector<std::int64_t> patches{32, 16, 8};
  std::int64_t batch = 32;
  std::int64_t steps = 20;
  pd::Precision precision = pd::Precision::float32;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string json;
};

/// A network and its raw counterpart: the same weights at the start, the same shapes.
class Pair {
 public:
  Pair(const Settings& settings, std::int64_t patch)
      : settings_(settings),
        patch_(patch),
        precision_(settings.precision),
        image_{settings.image_channels, settings.resolution, settings.resolution},
        denoiser_(network(), {.image = image_, .precision = precision_}),
        raw_(network()),
        raw_adam_(raw_.parameters(), torch::optim::AdamOptions(1e-4)),
        step_({.schedule = pd::PatchSizeSchedule::stochastic_of(
                   {.image = image_.size(), .sizes = {{patch, patch}}, .multiplier = pd::MultiplierRule::constant(1)}),
               .batch = settings.batch}),
        adam_({.learning_rate = 1e-4}),
        ema_(denoiser_) {
    const std::int64_t n = settings.batch;
    batch_.images = at::randn({n, image_.channels, image_.height, image_.width}) * 0.5;
    if (settings.label_dim > 0) batch_.class_labels = at::eye(settings.label_dim).slice(0, 0, 1).repeat({n, 1});
    input_ = at::randn({n, image_.channels + 2, patch, patch});
    target_ = at::randn({n, image_.channels, patch, patch});
    c_noise_.assign(static_cast<std::size_t>(n), -0.3);
    conditioning_.class_labels = batch_.class_labels;
  }

  /// All that a host pays for: plan, crop, coordinates, noise, loss, backward, check, Adam, average.
  void whole_step() {
    const pd::PatchPlan plan = step_.plan(state_);
    step_(denoiser_, adam_, batch_, plan, state_);
    ema_.update(denoiser_, state_);
  }

  /// The network alone, as a host would write it with LibTorch.
  void raw_step() {
    raw_adam_.zero_grad();
    const at::AutoGradMode with_gradients(true);
    const auto record = raw_.record(input_, c_noise_, conditioning_, {.training = true, .precision = precision_});
    const at::Tensor loss = (record.root - target_).square().sum() / static_cast<double>(settings_.batch);
    torch::autograd::backward({loss}, {});
    raw_adam_.step();
  }

  /// Crop and coordinates, as TrainStep does them.
  void crop() {
    const pd::PatchPlan plan = step_.plan(state_);
    const pd::PatchSampler<B> sampler;
    const auto patches = sampler(batch_, sampler.places(plan, image_.size(), settings_.batch));
    const at::Tensor coords = pd::CoordEncoder<B>(image_.size())(patches.places, {});
    if (patches.images.numel() + coords.numel() == 0) std::abort();
  }

  /// A copy of as many bytes as `crop` writes, on one thread.
  void copy() {
    const auto bytes =
        static_cast<std::size_t>(settings_.batch * (image_.channels + 2) * patch_ * patch_) * sizeof(float);
    from_.resize(bytes);
    to_.resize(bytes);
    std::memcpy(to_.data(), from_.data(), bytes);
  }

 private:
  pd::SongUNet network() const {
    return pd::SongUNet({.image = image_.size(),
                         .in_channels = image_.channels + 2,
                         .out_channels = image_.channels,
                         .label_dim = settings_.label_dim,
                         .model_channels = settings_.model_channels,
                         .channel_mult = settings_.channel_mult,
                         .num_blocks = settings_.num_blocks,
                         .attn_resolutions = settings_.attn_resolutions,
                         .dropout = 0},
                        {1});
  }

  Settings settings_;
  std::int64_t patch_;
  pd::Precision precision_;
  pd::ImageShape image_;
  pd::DenoiserWrapper<pd::SongUNet> denoiser_;
  pd::SongUNet raw_;
  torch::optim::Adam raw_adam_;
  pd::TrainStep<B> step_;
  pd::Adam<B> adam_;
  pd::EMA<B> ema_;
  pd::TrainState state_{.seed = 1};
  pd::ImageBatch<B> batch_{};
  at::Tensor input_, target_;
  std::vector<double> c_noise_;
  pd::Conditioning<B> conditioning_;
  std::vector<char> from_, to_;
};

Json measure(const Settings& settings, std::int64_t patch) {
  Pair pair(settings, patch);
  for (int warm_up = 0; warm_up < 3; ++warm_up) {
    pair.whole_step();
    pair.raw_step();
    pair.crop();
    pair.copy();
  }
  std::vector<double> whole, raw, ratio, crop, copy;
  for (std::int64_t step = 0; step < settings.steps; ++step) {
    whole.push_back(seconds([&] { pair.whole_step(); }));
    raw.push_back(seconds([&] { pair.raw_step(); }));
    ratio.push_back(whole.back() / raw.back());
    crop.push_back(seconds([&] { pair.crop(); }));
    copy.push_back(seconds([&] { pair.copy(); }));
  }
  const double overhead = spread_of(whole).median / spread_of(raw).median - 1;
  const double images = static_cast<double>(settings.batch) / spread_of(whole).median;
  const double copies = spread_of(crop).median / spread_of(copy).median;
  fmt::print("patch {:4}: step {:8.2f} ms, raw {:8.2f} ms, overhead {:5.1f} %, {:7.0f} images/s, crop {:.1f} copies\n",
             patch, 1e3 * spread_of(whole).median, 1e3 * spread_of(raw).median, 100 * overhead, images, copies);
  return {{"patch", patch},
          {"step", to_json(spread_of(whole))},
          {"raw", to_json(spread_of(raw))},
          {"ratio_median", spread_of(ratio).median},
          {"overhead_percent", 100 * overhead},
          {"images_per_second", images},
          {"crop", to_json(spread_of(crop))},
          {"copy", to_json(spread_of(copy))},
          {"crop_in_copies", copies}};
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  Json results = Json::array();
  for (const std::int64_t patch : settings.patches) results.push_back(measure(settings, patch));
  const Json figures{{"benchmark", "train_step"},
                     {"libtorch", TORCH_VERSION},
                     {"compiler", __VERSION__},
                     {"threads", settings.threads},
                     {"dtype", pd::name_of(settings.precision)},
                     {"resolution", settings.resolution},
                     {"image_channels", settings.image_channels},
                     {"label_dim", settings.label_dim},
                     {"model_channels", settings.model_channels},
                     {"channel_mult", settings.channel_mult},
                     {"num_blocks", settings.num_blocks},
                     {"attn_resolutions", settings.attn_resolutions},
                     {"batch", settings.batch},
                     {"steps", settings.steps},
                     {"results", results}};
  write_figures(settings.json, "train_step_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times a training step beside raw LibTorch in the same run.", "train_step_bench"};
  app.add_option("--resolution", settings.resolution, "side of the full image")->capture_default_str();
  app.add_option("--image-channels", settings.image_channels, "channels of the image")->capture_default_str();
  app.add_option("--label-dim", settings.label_dim, "width of class labels, 0: none")->capture_default_str();
  app.add_option("--model-channels", settings.model_channels, "width of the first level")->capture_default_str();
  app.add_option("--channel-mult", settings.channel_mult, "width of each level")->delimiter(',')->capture_default_str();
  app.add_option("--num-blocks", settings.num_blocks, "residual blocks a level")->capture_default_str();
  app.add_option("--attn-resolutions", settings.attn_resolutions, "levels with attention, 0: none")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--patch", settings.patches, "sides of the patches")->delimiter(',')->capture_default_str();
  app.add_option("--batch", settings.batch, "patches a step")->capture_default_str();
  app.add_option("--steps", settings.steps, "timed steps of each kind")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_dtype(app, settings.precision);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_benchmark(app, argc, argv, [&] {
    std::erase(settings.attn_resolutions, 0);
    run(settings);
  });
}
