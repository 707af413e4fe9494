// SPDX-License-Identifier: Apache-2.0
// Each network's forward, and its forward and backward, beside the same operators run by LibTorch alone: a trace of the
// network, interpreted without optimisation. Then channels last beside channels first, and bfloat16 beside float32. All
// in turns; prints medians of ratios and, with --json, writes every figure.

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

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

  explicit Input(const Settings& settings)
      : images(at::randn({settings.batch, 3 + 2, settings.side, settings.side})),
        cotangent(at::randn({settings.batch, 3, settings.side, settings.side})),
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

void forward_backward(const std::function<at::Tensor()>& forward, const at::Tensor& cotangent) {
  const at::AutoGradMode with_gradients(true);
  torch::autograd::backward({forward()}, {cotangent});
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

template <class Net>
Json measure(const Settings& settings, const std::string& name, const std::function<Net()>& make) {
  const Input input(settings);
  Net network = make();
  torch::jit::Module raw = traced(network, input);
  const auto by_network = [&] { return network.forward(input.images, input.c_noise, {}, {}); };
  const auto by_trace = [&] { return raw.forward({input.images}).toTensor(); };
  const auto without = [](const std::function<at::Tensor()>& f) {
    return [f] {
      const at::NoGradGuard no_grad;
      f();
    };
  };
  if (!at::allclose(by_network(), by_trace(), 1e-5, 1e-6)) throw std::runtime_error("the trace gives another result");
  const auto both = [&](const std::function<at::Tensor()>& f) {
    return [&input, f] { forward_backward(f, input.cotangent); };
  };
  Json result{{"network", name},
              {"forward", ratio(settings, without(by_network), without(by_trace))},
              {"forward_backward", ratio(settings, both(by_network), both(by_trace))}};

  // The same network in channels last; its own convolutions keep the order of their input.
  Net last = make();
  last.visit_state([](std::string_view, at::Tensor& value) {
    const at::NoGradGuard no_grad;
    if (value.dim() == 4) value.set_data(value.contiguous(at::MemoryFormat::ChannelsLast));
  });
  const at::Tensor images_last = input.images.contiguous(at::MemoryFormat::ChannelsLast);
  const auto by_last = [&] { return last.forward(images_last, input.c_noise, {}, {}); };
  result["channels_last"] = ratio(settings, both(by_last), both(by_network));

  Net half = make();
  const auto step_of = [&](Net& any, pd::Precision precision) {
    return [&any, &input, precision] {
      const auto record = any.record(input.images, input.c_noise, {}, {.training = true, .precision = precision});
      any.backward(record, input.cotangent);
    };
  };
  result["bfloat16"] =
      ratio(settings, step_of(half, pd::Precision::bfloat16), step_of(network, pd::Precision::float32));
  const auto shown = [&](const char* key) { return result[key]["ratio"]["median"].template get<double>(); };
  fmt::print(
      "{:8}  overhead: forward {:+5.1f} %, forward and backward {:+5.1f} %; channels last {:.2f}, bfloat16 {:.2f}\n",
      name, 100 * (shown("forward") - 1), 100 * (shown("forward_backward") - 1), shown("channels_last"),
      shown("bfloat16"));
  return result;
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  torch::jit::setGraphExecutorOptimize(false);
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
  CLI::App app{"Times the networks beside the same operators called by LibTorch alone.", "network_bench"};
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
