// SPDX-License-Identifier: Apache-2.0
// Each network's forward, and its forward and backward, in bfloat16 beside float32, in turns. Prints medians of ratios
// and, with --json, writes every figure.

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/torch.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;

struct Settings {
  std::int64_t side = 32;
  std::int64_t batch = 16;
  std::int64_t model_channels = 64;
  std::int64_t steps = 15;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string json;
};

/// What one network is called with.
struct Input {
  at::Tensor images, cotangent;
  std::vector<double> c_noise;

  explicit Input(const Settings& settings)
      : images(at::randn({settings.batch, 3 + 2, settings.side, settings.side})),
        cotangent(at::randn({settings.batch, 3, settings.side, settings.side})),
        c_noise(static_cast<std::size_t>(settings.batch), -0.3) {}
};

Json ratio(const Settings& settings, const std::function<void()>& first, const std::function<void()>& second) {
  const Comparison result(settings.steps, first, second);
  return {{"ratio", ratio_to_json(result.ratio)}, {"first", to_json(result.first)}, {"second", to_json(result.second)}};
}

template <class Net>
Json measure(const Settings& settings, const std::string& name, const std::function<Net()>& make) {
  const Input input(settings);
  Net network = make();
  const auto forward = [&](pd::Precision precision) {
    return [&, precision] { network(input.images, input.c_noise, {}, {.precision = precision}); };
  };
  const auto both = [&](pd::Precision precision) {
    return [&, precision] {
      const auto record = network.record(input.images, input.c_noise, {}, {.training = true, .precision = precision});
      network.backward(record, input.cotangent);
    };
  };
  using enum pd::Precision;
  const Json result{{"network", name},
                    {"forward", ratio(settings, forward(bfloat16), forward(float32))},
                    {"forward_backward", ratio(settings, both(bfloat16), both(float32))}};
  const auto shown = [&](const char* key) { return result[key]["ratio"]["median"].template get<double>(); };
  fmt::print("{:8}  bfloat16 takes {:.2f} of float32's time forward, {:.2f} forward and backward\n", name,
             shown("forward"), shown("forward_backward"));
  return result;
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  const pd::ImageSize image{settings.side, settings.side};
  const auto song = [&](pd::EmbeddingType embedding, pd::EncoderType encoder, pd::DecoderType decoder,
                        std::vector<std::int64_t> filter) {
    return [=] {
      return pd::SongUNet({.image = image,
                           .in_channels = 5,
                           .out_channels = 3,
                           .model_channels = settings.model_channels,
                           .channel_mult = {1, 2, 2},
                           .num_blocks = 1,
                           .attn_resolutions = {settings.side / 2},
                           .dropout = 0,
                           .embedding_type = embedding,
                           .channel_mult_noise = embedding == pd::EmbeddingType::fourier ? 2 : 1,
                           .encoder_type = encoder,
                           .decoder_type = decoder,
                           .resample_filter = filter});
    };
  };
  using enum pd::EmbeddingType;
  Json results = Json::array();
  results.push_back(measure<pd::SongUNet>(
      settings, "DDPM++", song(positional, pd::EncoderType::standard, pd::DecoderType::standard, {1, 1})));
  results.push_back(measure<pd::SongUNet>(
      settings, "NCSN++", song(fourier, pd::EncoderType::residual, pd::DecoderType::standard, {1, 3, 3, 1})));
  results.push_back(measure<pd::SongUNet>(
      settings, "skip", song(positional, pd::EncoderType::skip, pd::DecoderType::skip, {1, 3, 3, 1})));
  results.push_back(measure<pd::DhariwalUNet>(settings, "ADM", [&] {
    return pd::DhariwalUNet({.image = image,
                             .in_channels = 5,
                             .out_channels = 3,
                             .model_channels = settings.model_channels,
                             .channel_mult = {1, 2, 2},
                             .num_blocks = 1,
                             .attn_resolutions = {settings.side / 2, settings.side / 4},
                             .dropout = 0});
  }));
  write_figures(settings.json, "network_bench",
                {{"benchmark", "network"},
                 {"libtorch", TORCH_VERSION},
                 {"compiler", __VERSION__},
                 {"threads", settings.threads},
                 {"side", settings.side},
                 {"batch", settings.batch},
                 {"model_channels", settings.model_channels},
                 {"steps", settings.steps},
                 {"results", results}});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times the networks in bfloat16 beside float32.", "network_bench"};
  app.add_option("--side", settings.side, "side of the images")->capture_default_str();
  app.add_option("--batch", settings.batch, "images in a call")->capture_default_str();
  app.add_option("--model-channels", settings.model_channels, "width of the first level")->capture_default_str();
  app.add_option("--steps", settings.steps, "timed calls of each kind")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_benchmark(app, argc, argv, [&] { run(settings); });
}
