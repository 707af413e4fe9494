// SPDX-License-Identifier: Apache-2.0
// Each network's forward, and its forward and backward, in turns: beside the same network written plainly with
// LibTorch's modules, in float32, where ours has kernels of its own, and in float64, where both call the same
// operators; then in bfloat16 beside float32. Outputs and gradients are compared before. Prints medians of ratios of
// processor time, which other work on the machine disturbs least, and, with --json, writes every figure.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/version.h>

#include <patchdiff/torch.hpp>

#include "measure.hpp"
#include "plain_unet.hpp"

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

/// A network and the same one written plainly, of equal weights, and what both are called with.
template <class Net>
class Networks {
 public:
  Networks(const Settings& settings, const typename Net::Options& options, at::ScalarType type)
      : ours_(options, {1}, {at::kCPU, type}),
        plain_(options),
        images_(at::randn({settings.batch, options.in_channels, settings.side, settings.side}, type)),
        cotangent_(at::randn({settings.batch, options.out_channels, settings.side, settings.side}, type)),
        noise_(at::full({settings.batch}, -0.3, type)),
        c_noise_(static_cast<std::size_t>(settings.batch), -0.3) {
    const at::NoGradGuard no_grad;
    // Away from the start, where some layers give almost nothing.
    for (const at::Tensor& weight : ours_.parameters()) weight.add_(at::randn_like(weight), 0.05);
    plain_.to(type);
    plain_.copy_weights(ours_);
  }

  void ours(bool backward, pd::Precision precision = pd::Precision::float32) {
    if (!backward) {
      ours_(images_, c_noise_, {}, {.precision = precision});
      return;
    }
    const auto record = ours_.record(images_, c_noise_, {}, {.training = true, .precision = precision});
    ours_.backward(record, cotangent_);
  }

  void plain(bool backward) {
    const at::AutoGradMode with_gradients(backward);
    const at::Tensor output = plain_.forward(images_, noise_, {});
    if (backward) output.backward(cotangent_);
  }

  /// Errors: runtime_error where ours differs from the plain one by more than `tolerance`.
  void check_equal(pd::Precision precision, double tolerance) {
    plain::require_equal(ours_, plain_, {images_, noise_, cotangent_}, precision, tolerance);
  }

 private:
  Net ours_;
  plain::UNet plain_;
  at::Tensor images_, cotangent_, noise_;
  std::vector<double> c_noise_;
};

using Work = std::function<void(bool backward)>;

/// What the first takes more or less than the second.
Json compare(const Settings& settings, std::string_view label, const Work& first, const Work& second) {
  fmt::print("  {:25}", label);
  Json result;
  for (const bool backward : {false, true}) {
    const Comparison times(
        settings.steps, [&] { first(backward); }, [&] { second(backward); }, processor_seconds);
    const auto percent = [](double ratio) { return 100 * (ratio - 1); };
    fmt::print("{} {:+5.1f} % ({:+.1f} to {:+.1f})", backward ? ", forward and backward" : "forward",
               percent(times.ratio.median), percent(times.ratio.least), percent(times.ratio.most));
    std::fflush(stdout);
    result[backward ? "forward_backward" : "forward"] = {
        {"ratio", ratio_to_json(times.ratio)}, {"first", to_json(times.first)}, {"second", to_json(times.second)}};
  }
  fmt::print("\n");
  return result;
}

template <class Net>
Json measure(const Settings& settings, const std::string& name, const typename Net::Options& options) {
  Networks<Net> in_float32(settings, options, at::kFloat), in_float64(settings, options, at::kDouble);
  in_float32.check_equal(pd::Precision::float32, 1e-4);
  in_float32.check_equal(pd::Precision::bfloat16, 0.1);
  in_float64.check_equal(pd::Precision::float32, 1e-10);
  const auto ours = [](Networks<Net>& networks, pd::Precision precision = pd::Precision::float32) {
    return [&networks, precision](bool backward) { networks.ours(backward, precision); };
  };
  const auto plain = [](Networks<Net>& networks) { return [&](bool backward) { networks.plain(backward); }; };
  fmt::print("{}\n", name);
  return {{"network", name},
          {"float32_beside_plain", compare(settings, "float32 beside plain", ours(in_float32), plain(in_float32))},
          {"float64_beside_plain", compare(settings, "float64 beside plain", ours(in_float64), plain(in_float64))},
          {"bfloat16_beside_float32",
           compare(settings, "bfloat16 beside float32", ours(in_float32, pd::Precision::bfloat16), ours(in_float32))}};
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  const pd::ImageSize image{settings.side, settings.side};
  const auto song = [&](pd::EmbeddingType embedding, pd::EncoderType encoder, pd::DecoderType decoder,
                        const std::vector<std::int64_t>& filter) {
    return pd::SongUNetOptions{.image = image,
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
                               .resample_filter = filter};
  };
  using enum pd::EmbeddingType;
  Json results = Json::array();
  results.push_back(measure<pd::SongUNet>(
      settings, "DDPM++", song(positional, pd::EncoderType::standard, pd::DecoderType::standard, {1, 1})));
  results.push_back(measure<pd::SongUNet>(
      settings, "NCSN++", song(fourier, pd::EncoderType::residual, pd::DecoderType::standard, {1, 3, 3, 1})));
  results.push_back(measure<pd::SongUNet>(
      settings, "skip", song(positional, pd::EncoderType::skip, pd::DecoderType::skip, {1, 3, 3, 1})));
  results.push_back(measure<pd::DhariwalUNet>(settings, "ADM",
                                              {.image = image,
                                               .in_channels = 5,
                                               .out_channels = 3,
                                               .model_channels = settings.model_channels,
                                               .channel_mult = {1, 2, 2},
                                               .num_blocks = 1,
                                               .attn_resolutions = {settings.side / 2, settings.side / 4},
                                               .dropout = 0}));
  write_figures(settings.json, "network_bench",
                {{"benchmark", "network"},
                 {"libtorch", TORCH_VERSION},
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
  CLI::App app{"Times the networks beside the same ones in plain LibTorch, and in bfloat16 beside float32.",
               "network_bench"};
  app.add_option("--side", settings.side, "side of the images");
  app.add_option("--batch", settings.batch, "images in a call");
  app.add_option("--model-channels", settings.model_channels, "width of the first level");
  app.add_option("--steps", settings.steps, "timed calls of each kind")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
