// SPDX-License-Identifier: Apache-2.0
// Each network's forward, and its forward and backward, beside the same operators run by LibTorch alone: a trace of the
// network, interpreted without optimisation. In float64, where networks have no kernels of their own. Then bfloat16
// beside float32. All in turns; prints medians of ratios and, with --json, writes every figure.

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
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

  Input(const Settings& settings, at::ScalarType type)
      : images(at::randn({settings.batch, 3 + 2, settings.side, settings.side}, type)),
        cotangent(at::randn({settings.batch, 3, settings.side, settings.side}, type)),
        c_noise(static_cast<std::size_t>(settings.batch), -0.3) {}
};

/// The operators that a network calls, in a graph of LibTorch's own.
template <class Net>
torch::jit::Module traced(Net& network, const Input& input) {
  torch::jit::Module module("Traced");
  std::int64_t count = 0;
  network.visit_state([&](std::string_view, at::Tensor& value) {
    module.register_parameter(fmt::format("p{}", count++), value, !value.requires_grad());
  });
  const auto call = [&](torch::jit::Stack stack) {
    return torch::jit::Stack{network.forward(stack.at(0).toTensor(), input.c_noise, {}, {})};
  };
  const auto no_names = [](const at::Tensor&) { return std::string(); };
  const auto [state, outputs] =
      torch::jit::tracer::trace({input.images}, call, no_names, /*strict=*/true, /*force_outplace=*/false, &module);
  auto* function = module._ivalue()->compilation_unit()->create_function("forward", state->graph);
  module.type()->addMethod(function);
  return module;
}

/// The median of the ratios of the first's time to the second's, measured in turns.
Json ratio(const Settings& settings, const std::function<void()>& first, const std::function<void()>& second) {
  std::vector<double> firsts, seconds_of, ratios;
  for (std::int64_t step = -2; step < settings.steps; ++step) {
    const double one = seconds(first), other = seconds(second);
    if (step < 0) continue;
    firsts.push_back(one);
    seconds_of.push_back(other);
    ratios.push_back(one / other);
  }
  const Spread spread = spread_of(ratios);
  return {{"ratio", {{"median", spread.median}, {"min", spread.least}, {"max", spread.most}}},
          {"first", to_json(spread_of(firsts))},
          {"second", to_json(spread_of(seconds_of))}};
}

/// What a network takes beyond its operators, as ratios of times.
template <class Net>
std::pair<Json, Json> overhead(const Settings& settings, Net network) {
  const Input input(settings, at::kDouble);
  torch::jit::Module raw = traced(network, input);
  const auto by_network = [&] { return network.forward(input.images, input.c_noise, {}, {}); };
  const auto by_trace = [&] { return raw.forward({input.images}).toTensor(); };
  if (!at::allclose(by_network(), by_trace(), 1e-5, 1e-6)) {
    throw std::runtime_error("the trace gives another result");
  }
  const auto forward = [](const auto& f) {
    return [&f] {
      const at::NoGradGuard no_grad;
      f();
    };
  };
  const auto both = [&](const auto& f) {
    return [&] {
      const at::AutoGradMode with_gradients(true);
      torch::autograd::backward({f()}, {input.cotangent});
    };
  };
  return {ratio(settings, forward(by_network), forward(by_trace)), ratio(settings, both(by_network), both(by_trace))};
}

template <class Net, class Make>
Json measure(const Settings& settings, const std::string& name, const Make& make) {
  const auto [overhead_forward, overhead_both] = overhead<Net>(settings, make({at::kCPU, at::kDouble}));
  const Input input(settings, at::kFloat);
  Net network = make({});
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
                    {"overhead_forward", overhead_forward},
                    {"overhead_forward_backward", overhead_both},
                    {"bfloat16_forward", ratio(settings, forward(bfloat16), forward(float32))},
                    {"bfloat16_forward_backward", ratio(settings, both(bfloat16), both(float32))}};
  const auto shown = [&](const char* key) { return result[key]["ratio"]["median"].template get<double>(); };
  fmt::print(
      "{:8}  overhead: forward {:+5.1f} %, forward and backward {:+5.1f} %; bfloat16 takes {:.2f} and {:.2f} of the "
      "time\n",
      name, 100 * (shown("overhead_forward") - 1), 100 * (shown("overhead_forward_backward") - 1),
      shown("bfloat16_forward"), shown("bfloat16_forward_backward"));
  return result;
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  torch::jit::setGraphExecutorOptimize(false);
  const pd::ImageSize image{settings.side, settings.side};
  const auto song = [&](pd::EmbeddingType embedding, pd::EncoderType encoder, pd::DecoderType decoder,
                        std::vector<std::int64_t> filter) {
    return [=](const pd::TorchDevice& device) {
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
                           .resample_filter = filter},
                          {}, device);
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
  results.push_back(measure<pd::DhariwalUNet>(settings, "ADM", [&](const pd::TorchDevice& device) {
    return pd::DhariwalUNet({.image = image,
                             .in_channels = 5,
                             .out_channels = 3,
                             .model_channels = settings.model_channels,
                             .channel_mult = {1, 2, 2},
                             .num_blocks = 1,
                             .attn_resolutions = {settings.side / 2, settings.side / 4},
                             .dropout = 0},
                            {}, device);
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
  CLI::App app{"Times the networks beside their operators called by LibTorch alone, and in bfloat16 beside float32.",
               "network_bench"};
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
