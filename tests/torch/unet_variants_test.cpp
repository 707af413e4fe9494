// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/version.h>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/torch.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"
#include "support/gradient_check.hpp"
#include "support/random_weights.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;
using Network = AnyNetwork<SongUNet, DhariwalUNet>;

const TorchDevice float64{at::kCPU, at::kDouble};

struct Execution {
  Attention attention = Attention::fused;
  bool recompute = false;
};

DhariwalUNetOptions adm(Execution execution = {}, double dropout = 0.3) {
  return {.image = {4, 8},
          .in_channels = 3,
          .out_channels = 1,
          .label_dim = 3,
          .augment_dim = 2,
          .model_channels = 32,
          .channel_mult = {1, 4},
          .num_blocks = 1,
          .attn_resolutions = {4},
          .dropout = dropout,
          .attention = execution.attention,
          .recompute = execution.recompute};
}

SongUNetOptions song(Execution execution = {}) {
  return {.image = {4, 8},
          .in_channels = 3,
          .out_channels = 1,
          .label_dim = 3,
          .augment_dim = 2,
          .model_channels = 8,
          .channel_mult = {1, 2},
          .num_blocks = 1,
          .attn_resolutions = {4},
          .dropout = 0.3,
          .resample_filter = {1, 3, 3, 1},
          .attention = execution.attention,
          .recompute = execution.recompute};
}

SongUNetOptions ncsnpp(Execution execution = {}) {
  SongUNetOptions options = song(execution);
  options.embedding_type = EmbeddingType::fourier;
  options.channel_mult_noise = 2;
  options.encoder_type = EncoderType::residual;
  return options;
}

SongUNetOptions skip(Execution execution = {}) {
  SongUNetOptions options = song(execution);
  options.encoder_type = EncoderType::skip;
  options.decoder_type = DecoderType::skip;
  options.implicit_mlp = true;
  return options;
}

constexpr int variants = 3;

/// NCSN++, a network with skips at every level, and ADM with two heads; each with labels of both kinds and dropout.
DenoiserWrapper<Network> make(int variant, TorchDevice device = {}, Execution execution = {},
                              Precision precision = Precision::float32) {
  const DenoiserOptions options{.image = {1, 4, 8}, .precision = precision};
  if (variant == 2) return {Network(with_random_weights(DhariwalUNet(adm(execution), {1}, device))), options};
  return {Network(with_random_weights(SongUNet(variant == 0 ? ncsnpp(execution) : skip(execution), {1}, device))),
          options};
}

struct Batch {
  std::vector<double> sigma{0.4, 2.0};
  Places places{{4, 6}, {Place::at(0, 2), Place::at(0, 1)}};
  at::Tensor x, cotangent;
  Conditioning<B> told;
};

Batch batch(TorchDevice device = {}) {
  return {.x = random_tensor<B>({2, 1, 4, 6}, 5, device),
          .cotangent = random_tensor<B>({2, 1, 4, 6}, 6, device),
          .told = {.class_labels = random_tensor<B>({2, 3}, 1, device),
                   .augment_labels = random_tensor<B>({2, 2}, 2, device)}};
}

const Pass training{.training = true, .input_gradient = true, .key = {3}, .step = 4};

double distance(const at::Tensor& x, const at::Tensor& y) { return (x - y).abs().max().item<double>(); }

TEST_CASE("gradients of NCSN++, skips and ADM in float64 are derivatives") {
  const int variant = GENERATE(0, 1, 2);
  CAPTURE(variant);
  auto denoiser = make(variant, float64);
  const Batch given = batch(float64);
  CHECK(check_gradients(denoiser, given.x, given.sigma, given.places, given.told, training, given.cotangent) > 60);
}

/// Bytes that LibTorch has allocated on the processor in this thread, and not given back, since this was made.
class LiveBytes {
 public:
  LiveBytes() : counter_(std::make_shared<TorchByteCounter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, counter_) {}
  std::int64_t count() const { return counter_->now(); }

 private:
  std::shared_ptr<TorchByteCounter> counter_;
  c10::DebugInfoGuard guard_;
};

TEST_CASE("recomputing keeps less, and gives the same gradients with the same dropout") {
  const int variant = GENERATE(0, 1, 2);
  const Precision precision = GENERATE(Precision::float32, Precision::bfloat16);
  CAPTURE(variant, name_of(precision));
  const Batch given = batch();
  std::int64_t kept[2];
  std::vector<at::Tensor> gradients[2];
  for (const bool recompute : {false, true}) {
    auto denoiser = make(variant, {}, {.recompute = recompute}, precision);
    zero_gradients(denoiser);
    const LiveBytes live;
    const auto record = denoiser.record(given.x, given.sigma, given.places, given.told, training);
    kept[recompute] = live.count();
    gradients[recompute] = {record.denoised, *denoiser.backward(record, given.cotangent)};
    denoiser.visit_parameters(
        [&](auto, at::Tensor&, at::Tensor& gradient) { gradients[recompute].push_back(gradient.clone()); });
  }
  CHECK(kept[1] < kept[0] / 2);
  // In bfloat16 an activation's gradients round as they are added, and a block adds its own first.
  const double tolerance = precision == Precision::bfloat16 ? 0.1 : 2e-6;
  REQUIRE(gradients[0].size() == gradients[1].size());
  for (std::size_t i = 0; i < gradients[0].size(); ++i) {
    CAPTURE(i);
    CHECK(distance(gradients[0][i], gradients[1][i]) <= tolerance * gradients[0][i].abs().max().item<double>());
  }
}

/// The gradient of <F, cotangent> in the input, which can be differentiated again.
at::Tensor input_gradient(const DenoiserWrapper<Network>& denoiser, const at::Tensor& input, const Batch& given) {
  const std::vector<double> c_noise{-0.4, 0.3};
  const at::Tensor output = denoiser.network().visit(
      [&](const auto& network) { return network.forward(input, c_noise, given.told, training); });
  return torch::autograd::grad({output}, {input}, {given.cotangent}, /*retain_graph=*/true, /*create_graph=*/true)[0];
}

TEST_CASE("plain attention has second derivatives, recomputed too; the fused kernel says what to choose") {
  const int variant = GENERATE(0, 1, 2);
  const bool recompute = GENERATE(false, true);
  CAPTURE(variant, recompute);
  const Batch given = batch(float64);
  const at::Tensor direction = random_tensor<B>({2, 3, 4, 6}, 8, float64);
  const at::Tensor along = random_tensor<B>({2, 3, 4, 6}, 9, float64);
  at::Tensor input = random_tensor<B>({2, 3, 4, 6}, 10, float64).requires_grad_();
  const auto plain = make(variant, float64, {Attention::plain, recompute});
  const at::Tensor second = torch::autograd::grad({input_gradient(plain, input, given)}, {input}, {direction})[0];
  const at::Tensor before = input.detach().clone();
  const double expected = central_difference([&](double step) {
    B::assign(input, before + step * along);
    return inner_product<B>(input_gradient(plain, input, given).detach(), direction);
  });
  CHECK(inner_product<B>(second, along) == Approx(expected).epsilon(1e-6));

  const auto fused = make(variant, float64, {Attention::fused, recompute});
#if TORCH_VERSION_MAJOR >= 2
  CHECK_ERROR(ConfigError, "unet: attention: expected plain, as second derivatives need, got fused, which has none",
              input_gradient(fused, input, given));
#else
  CHECK(distance(input_gradient(fused, input, given), input_gradient(plain, input, given)) == 0);
#endif
}

TEST_CASE("the fused kernel gives what plain attention gives") {
  const int variant = GENERATE(0, 1, 2);
  const Batch given = batch(float64);
  const auto fused = make(variant, float64), plain = make(variant, float64, {Attention::plain});
  CHECK(distance(fused(given.x, given.sigma, given.places, given.told),
                 plain(given.x, given.sigma, given.places, given.told)) < 1e-12);
}

TEST_CASE("bfloat16 is near float32 in every network") {
  const int variant = GENERATE(0, 1, 2);
  const Batch given = batch();
  const auto exact = make(variant), coarse = make(variant, {}, {}, Precision::bfloat16);
  const at::Tensor expected = exact(given.x, given.sigma, given.places, given.told);
  const double error =
      distance(coarse(given.x, given.sigma, given.places, given.told), expected) / expected.abs().max().item<double>();
  CAPTURE(variant, error);
  CHECK(error > 1e-5);
  CHECK(error < 0.05);
}

TEST_CASE("labels of both kinds tell, and none are zeros") {
  const int variant = GENERATE(0, 1, 2);
  CAPTURE(variant);
  const auto denoiser = make(variant);
  const Batch given = batch();
  const std::vector<double> c_noise{-0.4, 0.3};
  const at::Tensor input = random_tensor<B>({2, 3, 4, 6}, 10);
  const auto run = [&](const Conditioning<B>& told) { return denoiser.network()(input, c_noise, told, {}); };
  const at::Tensor zeros = run({.class_labels = at::zeros({2, 3}), .augment_labels = at::zeros({2, 2})});
  CHECK(distance(run({}), zeros) < 1e-5);
  CHECK(distance(run({.class_labels = given.told.class_labels}), zeros) > 1e-2);
  CHECK(distance(run({.augment_labels = given.told.augment_labels}), zeros) > 1e-2);
}

TEST_CASE("networks that read augmentation labels sample without them as with zeros") {
  const int variant = GENERATE(0, 1, 2);
  const auto denoiser = make(variant);
  const ODESampler sampler({.num_steps = 3});
  SampleRequest<B> request{.seeds = {1, 2}, .conditioning = {.class_labels = random_tensor<B>({2, 3}, 1)}};
  const at::Tensor without = sampler(denoiser, request);
  request.conditioning.augment_labels = at::zeros({2, 2});
  CHECK(distance(sampler(denoiser, request), without) < 1e-4);
  request.conditioning.augment_labels = at::ones({2, 2});
  CHECK(distance(sampler(denoiser, request), without) > 1e-2);
}

/// The layers of one block, as a network of its own.
struct OneBlock : TorchParameters {
  explicit OneBlock(const unet::BlockSettings& settings) : TorchParameters(float64) {
    unet::WeightMaker make{*this, RandomKey{1}};
    block.emplace(make, "block", 8, 8, true, unet::Resample::none, settings, 0);
  }
  std::optional<unet::Block> block;
};

TEST_CASE("attention by heads is the formula, pixel by pixel") {
  constexpr std::int64_t channels = 8, heads = 2, width = channels / heads, pixels = 6;
  OneBlock net({.embedding_channels = 4, .qkv_gain = 4, .last_gain = 0, .channels_per_head = width});
  at::Tensor qkv_weight, qkv_bias;
  const at::NoGradGuard no_grad;
  net.visit_state([&](std::string_view name, at::Tensor& value) {
    if (name == "block.proj.weight") value.copy_(at::eye(channels, float64.options()).view({channels, channels, 1, 1}));
    if (name == "block.qkv.weight") qkv_weight = value.view({heads, width, 3, channels});
    if (name == "block.qkv.bias") value.copy_(random_tensor<B>({3 * channels}, 4, float64));
    if (name == "block.qkv.bias") qkv_bias = value.view({heads, width, 3});
  });
  const at::Tensor x = random_tensor<B>({1, channels, 2, 3}, 3, float64);
  // conv1 is zero, so attention sees x itself.
  const at::Tensor got = (*net.block)(x, at::zeros({1, 4}, float64.options()), {}) - x;
  const at::Tensor normed = at::group_norm(x, channels / 4, {}, {}, 1e-6).view({channels, pixels});
  for (std::int64_t head = 0; head < heads; ++head) {
    const auto of = [&](std::int64_t which) {
      return at::matmul(qkv_weight[head].select(1, which), normed) + qkv_bias[head].select(1, which).unsqueeze(1);
    };
    const at::Tensor query = of(0), key = of(1), value = of(2);
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      std::vector<double> weights;
      double sum = 0;
      for (std::int64_t other = 0; other < pixels; ++other) {
        double product = 0;
        for (std::int64_t c = 0; c < width; ++c) {
          product += query[c][pixel].item<double>() * key[c][other].item<double>();
        }
        weights.push_back(std::exp(product / std::sqrt(static_cast<double>(width))));
        sum += weights.back();
      }
      for (std::int64_t c = 0; c < width; ++c) {
        double expected = 0;
        for (std::int64_t other = 0; other < pixels; ++other) {
          expected += weights[static_cast<std::size_t>(other)] / sum * value[c][other].item<double>();
        }
        CHECK(got[0][head * width + c][pixel / 3][pixel % 3].item<double>() == Approx(expected).margin(1e-12));
      }
    }
  }
}

// False-alarm rate: 5.7e-7 for each mean.
TEST_CASE("initial weights of ADM and the frequencies of NCSN++") {
  DhariwalUNet net(adm(), {1});
  net.visit_state([&](std::string_view name, at::Tensor& value) {
    CAPTURE(std::string(name));
    const double largest = value.abs().max().item<double>();
    const bool zero = name.find("conv1.") != std::string_view::npos || name.find("proj.") != std::string_view::npos ||
                      name.starts_with("out_conv.") || name.starts_with("map_augment.");
    if (zero) CHECK(largest == 0);
    if (name == "dec.4x8_block0.conv0.weight" || name == "dec.4x8_block0.conv0.bias") {
      const double bound = 1 / std::sqrt(160.0 * 9);
      CHECK(largest < bound);
      CHECK(largest > 0.8 * bound);
    }
    if (name == "map_label.weight") CHECK(z_of_mean(B::to_host(value.square()), 1, std::sqrt(2.0)) < largest_z);
  });
  SongUNetOptions wide = ncsnpp();
  wide.channel_mult_noise = 64;
  SongUNet song_net(wide, {1});
  std::size_t found = 0;
  song_net.visit_state([&](std::string_view name, at::Tensor& value) {
    if (name != "map_noise.freqs") return;
    ++found;
    CHECK(value.numel() == 256);
    CHECK(z_of_mean(B::to_host((value / 16).square()), 1, std::sqrt(2.0)) < largest_z);
  });
  CHECK(found == 1);
  SongUNet copy = song_net.clone();
  CHECK(distance(copy.forward(at::ones({1, 3, 4, 4}), std::vector<double>{1}, {}, {}),
                 song_net.forward(at::ones({1, 3, 4, 4}), std::vector<double>{1}, {}, {})) == 0);
}

TEST_CASE("a level of ADM that is narrower than a head has no attention") {
  DhariwalUNetOptions narrow = adm();
  narrow.attn_resolutions = {8, 4};
  DhariwalUNet net(narrow);
  std::vector<std::string> attending;
  net.visit_state([&](std::string_view name, at::Tensor&) {
    if (name.ends_with(".qkv.weight")) attending.emplace_back(name);
  });
  CHECK(attending == std::vector<std::string>{"enc.2x4_block0.qkv.weight", "dec.2x4_in0.qkv.weight",
                                              "dec.2x4_block0.qkv.weight", "dec.2x4_block1.qkv.weight"});
}

TEST_CASE("NCSN++ and ADM refuse what cannot work") {
  const auto song_with = [](auto&& change) {
    SongUNetOptions changed = song();
    change(changed);
    SongUNet net(changed);
  };
  const auto adm_with = [](auto&& change) {
    DhariwalUNetOptions changed = adm();
    change(changed);
    DhariwalUNet net(changed);
  };
  CHECK_ERROR(ConfigError, "SongUNet: channel_mult_noise: expected at least 1, got 0",
              song_with([](auto& o) { o.channel_mult_noise = 0; }));
  CHECK_ERROR(ConfigError, "SongUNet: channel_mult_noise: expected at most 1048576 channels, got 2305843009213693952",
              song_with([](auto& o) { o.channel_mult_noise = std::int64_t{1} << 61; }));
  CHECK_ERROR(ConfigError, "SongUNet: augment_dim: expected at most 1048576, got 1048577",
              song_with([](auto& o) { o.augment_dim = 1048577; }));
  CHECK_ERROR(ConfigError, "SongUNet: resample_filter: expected an even number of values of at least 1, got [1, 2, 1]",
              song_with([](auto& o) {
                o.resample_filter = {1, 2, 1};
              }));
  CHECK_ERROR(ConfigError, "SongUNet: resample_filter: expected an even number of values of at least 1, got [1, 0]",
              song_with([](auto& o) {
                o.resample_filter = {1, 0};
              }));
  CHECK_ERROR(ConfigError, "SongUNet: augment_dim: expected at least 0, got -1",
              song_with([](auto& o) { o.augment_dim = -1; }));
  CHECK_ERROR(ConfigError, "DhariwalUNet: model_channels: expected a multiple of 4, got 6",
              adm_with([](auto& o) { o.model_channels = 6; }));
  CHECK_ERROR(ConfigError, "enc.2x4_block0: channels: expected a multiple of 3 heads, got 224", adm_with([](auto& o) {
                o.channel_mult = {1, 7};
              }));
  Batch given = batch();
  given.told.augment_labels = at::zeros({2, 3});
  const auto run = [&](const auto& denoiser) { return denoiser(given.x, given.sigma, given.places, given.told); };
  for (const int variant : {0, 1, 2}) {
    CHECK_ERROR(ShapeError, "DenoiserWrapper: augment_labels: expected [2, 2], got [2, 3]", run(make(variant)));
  }
  DhariwalUNetOptions without = adm();
  without.augment_dim = 0;
  CHECK_ERROR(ShapeError,
              "DenoiserWrapper: augment_labels: expected none, the network takes no augmentation labels, got [2, 3]",
              run(DenoiserWrapper{Network(DhariwalUNet(without)), {.image = {1, 4, 8}}}));
}

TEST_CASE("networks of LibTorch refuse arguments that do not fit") {
  const std::vector<double> none, one{-0.4}, two{-0.4, 0.3};
  const auto check = [&](auto net) {
    const std::string name(net.name);
    CAPTURE(name);
    const auto refuses = [&](const std::string& text, const Shape& shape, const std::vector<double>& c_noise,
                             const Conditioning<B>& told) {
      const at::Tensor x = at::zeros(shape);
      CHECK_ERROR(ShapeError, name + text, net(x, c_noise, told, {}));
      CHECK_ERROR(ShapeError, name + text, net.record(x, c_noise, told, training));
      CHECK_ERROR(ShapeError, name + text, net.forward(x, c_noise, told, {}));
    };
    for (const Shape& shape :
         {Shape{2, 3, 4, 5}, Shape{2, 3, 3, 6}, Shape{2, 4, 4, 6}, Shape{2, 3, 0, 6}, Shape{3, 4}}) {
      refuses(": input: expected [N, 3, h, w] with h and w divisible by 2, got " + to_string(shape), shape, two, {});
    }
    refuses(": c_noise: expected 2 values, got 1", {2, 3, 4, 6}, one, {});
    refuses(": c_noise: expected 2 values, got 0", {2, 3, 4, 6}, none, {});
    refuses(": c_noise: expected 1 values, got 2", {1, 3, 4, 6}, two, {});
    refuses(": class_labels: expected [2, 3], got [1, 3]", {2, 3, 4, 6}, two, {.class_labels = at::zeros({1, 3})});
    refuses(": augment_labels: expected [2, 0], got [2, 2]", {2, 3, 4, 6}, two, {.augment_labels = at::zeros({2, 2})});
  };
  SongUNetOptions of_song = skip();
  DhariwalUNetOptions of_adm = adm();
  of_song.augment_dim = of_adm.augment_dim = 0;
  check(SongUNet(of_song));
  check(DhariwalUNet(of_adm));
}

}  // namespace
}  // namespace patchdiff
