// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/optim/adam.h>

#include <patchdiff/backend/torch/peak_bytes.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/torch/torch_optimizer.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"
#include "support/gradient_check.hpp"
#include "support/random_weights.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;

const TorchDevice float64{at::kCPU, at::kDouble};

/// A network of two levels, with attention, labels and dropout, for images of one channel.
SongUNetOptions options(double dropout = 0.3) {
  return {.image = {8, 16},
          .in_channels = 3,
          .out_channels = 1,
          .label_dim = 3,
          .model_channels = 8,
          .channel_mult = {1, 2},
          .num_blocks = 1,
          .attn_resolutions = {8},
          .dropout = dropout};
}

template <class Net>
std::vector<double> weights(Net& net) {
  std::vector<double> all;
  net.visit_state([&](auto, at::Tensor& value) {
    const std::vector<double> values = B::to_host(value);
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

const std::vector<double> c_noise{-0.4, 0.3, 0.1};
const Conditioning<B> labelled{.class_labels = random_tensor<B>({3, 3}, 1)};
const at::Tensor input = random_tensor<B>({3, 3, 8, 16}, 2);

double distance(const at::Tensor& x, const at::Tensor& y) { return (x - y).abs().max().item<double>(); }

TEST_CASE("windows of a network agree with each other in chunks of any size, to rounding") {
  const DenoiserWrapper denoiser{with_random_weights(SongUNet(options())), {.image = {1, 24, 30}}};
  const at::Tensor x = random_tensor<B>({2, 1, 24, 30}, 5);
  const std::vector<double> sigma{0.5, 2};
  const Conditioning<B> labels{.class_labels = random_tensor<B>({2, 3}, 1)};
  const Places places = Places::whole({24, 30}, 2);
  for (const Fusion fusion : {Fusion::uniform, Fusion::feathered, Fusion::shifted}) {
    const std::int64_t overlap = fusion == Fusion::shifted ? 0 : 3;
    const auto tiled = [&](std::int64_t chunk) {
      const TiledDenoiser in_chunks(denoiser,
                                    {.window = {8, 16}, .overlap = overlap, .fusion = fusion, .chunk = chunk});
      return in_chunks(x, sigma, places, labels);
    };
    const at::Tensor all_at_once = tiled(1000);
    for (const std::int64_t chunk : {1, 2, 5}) CHECK(distance(tiled(chunk), all_at_once) < 1e-5);
  }
}

TEST_CASE("gradients flow through tiled windows") {
  // A denoiser of each pixel alone, so the gradient of the fused image is the denoiser's own factor.
  struct Half {
    using Backend = B;
    at::Tensor operator()(const at::Tensor& x, std::span<const double>, const Places&, const Conditioning<B>&) const {
      return x * 0.5;
    }
    ImageShape image() const { return {1, 7, 9}; }
    std::int64_t label_dim() const { return 0; }
    TorchDevice device() const { return {}; }
  };
  const Half half;
  const TiledDenoiser tiled(half, {.window = {4, 4}, .overlap = 2, .chunk = 3});
  const at::Tensor x = random_tensor<B>({1, 1, 7, 9}, 1).requires_grad_();
  const std::vector<double> sigma{1};
  tiled(x, sigma, Places::whole({7, 9}, 1)).sum().backward();
  CHECK(at::allclose(x.grad(), at::full({1, 1, 7, 9}, 0.5)));
}

TEST_CASE("peak_torch_bytes counts what lives at once") {
  const at::Tensor before = at::zeros({1000});
  CHECK(peak_torch_bytes([&] {
          at::empty({10});
          at::empty({1000});
          at::empty({20});
        }) == 4000);
  CHECK(peak_torch_bytes([&] {
          const at::Tensor one = at::empty({1000}), two = at::empty({500});
          at::empty({100});
        }) == 6400);
  CHECK(peak_torch_bytes([] {}) == 0);
}

TEST_CASE("a call with n windows takes n times the memory of one, as plans suppose") {
  const ImageSize window{64, 64};  // beside smaller ones, what does not grow with the batch shows
  const DenoiserWrapper denoiser{SongUNet(options()), {.image = {1, window.height, window.width}}};
  const auto bytes = [&](std::int64_t count) {
    const at::Tensor x = at::zeros({count, 1, window.height, window.width});
    const std::vector<double> sigma(static_cast<std::size_t>(count), 1.0);
    const Conditioning<B> labels{.class_labels = at::zeros({count, 3})};
    return static_cast<double>(peak_torch_bytes([&] { denoiser(x, sigma, Places::whole(window, count), labels); }));
  };
  CHECK(bytes(16) <= 16 * bytes(1));
  CHECK(bytes(16) >= 0.7 * 16 * bytes(1));  // weights that convolutions of LibTorch 2.13 put in order do not grow
}

TEST_CASE("patches and rectangles of any size that the levels can halve") {
  const SongUNet net(options());
  CHECK(net.size_divisor() == 2);
  for (const ImageSize size : {ImageSize{8, 16}, ImageSize{4, 6}, ImageSize{2, 2}, ImageSize{16, 4}}) {
    const at::Tensor output = net(random_tensor<B>({3, 3, size.height, size.width}, 2), c_noise, labelled, {});
    CHECK(B::shape(output) == Shape{3, 1, size.height, size.width});
  }
  SongUNetOptions three = options();
  three.channel_mult = {1, 1, 2};
  CHECK(SongUNet(three).size_divisor() == 4);
}

TEST_CASE("initial weights come from the key alone") {
  SongUNet net(options(), {1}), same(options(), {1}), other(options(), {2});
  CHECK(weights(net) == weights(same));
  CHECK(weights(net) != weights(other));
  std::vector<std::string> names;
  net.visit_state([&](std::string_view name, at::Tensor& value) {
    names.emplace_back(name);
    const bool is_bias = name.ends_with(".bias");
    if (is_bias) CHECK(value.abs().max().item<double>() == 0);
    if (name.find("norm") != std::string_view::npos && !is_bias) CHECK((value - 1).abs().max().item<double>() == 0);
    if (name == "enc.8x16_conv.weight") {
      const double bound = std::sqrt(6.0 / (3 * 9 + 8 * 9));
      CHECK(value.abs().max().item<double>() < bound);
      CHECK(value.abs().max().item<double>() > 0.9 * bound);
    }
    if (name == "dec.8x16_aux_conv.weight" || name.ends_with("conv1.weight") || name.ends_with("proj.weight")) {
      CHECK(value.abs().max().item<double>() < 1e-5);
    }
  });
  CHECK(names.front() == "map_label.weight");
  CHECK(std::find(names.begin(), names.end(), "enc.4x8_block0.qkv.weight") != names.end());
}

TEST_CASE("nothing is drawn from LibTorch's global generator") {
  const auto drawn_after = [](auto&& work) {
    at::manual_seed(1);
    work();
    return at::rand({4});
  };
  const at::Tensor after = drawn_after([] {
    SongUNet net(options());
    net.record(input, c_noise, labelled, {.training = true});
  });
  CHECK(at::equal(after, drawn_after([] {})));
}

TEST_CASE("a clone gives the same, and shares nothing") {
  SongUNet net = with_random_weights(SongUNet(options()));
  SongUNet copy = net.clone();
  CHECK(weights(copy) == weights(net));
  const at::Tensor before = net(input, c_noise, labelled, {});
  CHECK_FALSE(before.requires_grad());  // no history outside training
  copy.visit_state([](auto, at::Tensor& value) { B::set_zero(value); });
  CHECK(at::equal(net(input, c_noise, labelled, {}), before));
}

// False-alarm rate: 5.7e-7 for each probability.
TEST_CASE("dropout sets the given share to zero and scales the rest up") {
  const at::Tensor ones = at::ones({4, 5, 17, 19});
  const Pass pass{.training = true, .key = {3}, .step = 4};
  for (const double probability : {0.1, 0.5}) {
    const std::vector<double> values = B::to_host(unet::dropout(ones, probability, pass, 2));
    std::vector<double> dropped;
    for (const double value : values) {
      dropped.push_back(value == 0 ? 1 : 0);
      if (value != 0 && value != static_cast<double>(static_cast<float>(1 / (1 - probability)))) dropped.back() = 1e9;
    }
    CHECK(z_of_mean(dropped, probability, std::sqrt(probability * (1 - probability))) < largest_z);
  }
  const auto mask = [&](const Pass& other, std::uint64_t layer) { return unet::dropout(ones, 0.5, other, layer); };
  CHECK(at::equal(mask(pass, 2), mask(pass, 2)));
  CHECK_FALSE(at::equal(mask(pass, 2), mask(pass, 3)));
  CHECK_FALSE(at::equal(mask(pass, 2), mask({.training = true, .key = {3}, .step = 5}, 2)));
  CHECK_FALSE(at::equal(mask(pass, 2), mask({.training = true, .key = {4}, .step = 4}, 2)));
  CHECK(at::equal(unet::dropout(ones, 0.5, {.key = {3}}, 2), ones));
  const at::Tensor part =
      unet::dropout(ones.narrow(0, 1, 3), 0.5, {.training = true, .key = {3}, .step = 4, .first_sample = 1}, 2);
  CHECK(at::equal(part, mask(pass, 2).narrow(0, 1, 3)));
}

TEST_CASE("dropout is on in training alone, with the same masks for every split of the batch") {
  SongUNet net = with_random_weights(SongUNet(options()));
  const Pass pass{.training = true, .key = {3}, .step = 4};
  const auto run = [&](std::int64_t first, std::int64_t count, Pass told) {
    told.first_sample = static_cast<std::uint64_t>(first);
    const std::vector<double> noise(c_noise.begin() + first, c_noise.begin() + first + count);
    return net
        .record(input.narrow(0, first, count), noise, {.class_labels = labelled.class_labels->narrow(0, first, count)},
                told)
        .output;
  };
  const at::Tensor whole = run(0, 3, pass);
  CHECK(distance(at::cat({run(0, 1, pass), run(1, 2, pass)}), whole) < 1e-4);
  const double scale = whole.abs().max().item<double>();
  CHECK(distance(run(0, 3, {.training = true, .key = {3}, .step = 5}), whole) > 0.01 * scale);

  const at::Tensor evaluated = net(input, c_noise, labelled, {});
  CHECK(distance(run(0, 3, {}), evaluated) == 0);
  CHECK(distance(evaluated, whole) > 0.01 * scale);
  SongUNet without = with_random_weights(SongUNet(options(0)));
  CHECK(distance(without(input, c_noise, labelled, {.training = true}), evaluated) == 0);
}

TEST_CASE("labels tell; none at all is a row of zeros") {
  const SongUNet net = with_random_weights(SongUNet(options()));
  const at::Tensor unlabelled = net(input, c_noise, labelled.without_labels(), {});
  CHECK(at::equal(net(input, c_noise, {}, {}), unlabelled));
  CHECK(distance(net(input, c_noise, labelled, {}), unlabelled) > 1e-3);
}

TEST_CASE("gradients in float64 are derivatives") {
  DenoiserWrapper denoiser{with_random_weights(SongUNet(options(), {1}, float64)), {.image = {1, 8, 16}}};
  const std::vector<double> sigma{0.4, 2.0};
  const Places places{{4, 6}, {Place::at(1, 2), Place::at(4, 9)}};
  const Conditioning<B> told{.class_labels = random_tensor<B>({2, 3}, 1, float64)};
  const Pass pass{.training = true, .input_gradient = true, .key = {3}, .step = 4};
  CHECK(check_gradients(denoiser, random_tensor<B>({2, 1, 4, 6}, 5, float64), sigma, places, told, pass,
                        random_tensor<B>({2, 1, 4, 6}, 6, float64)) > 60);
}

TEST_CASE("bfloat16 is near float32, and leaves autocast as it was") {
  const auto make = [](Precision precision) {
    return DenoiserWrapper{with_random_weights(SongUNet(options())), {.image = {1, 8, 16}, .precision = precision}};
  };
  const auto exact = make(Precision::float32);
  auto coarse = make(Precision::bfloat16);
  const std::vector<double> sigma{0.4, 2.0, 0.1};
  const at::Tensor x = random_tensor<B>({3, 1, 8, 16}, 2);
  const at::Tensor expected = exact(x, sigma, Places::whole({8, 16}, 3), labelled);
  const at::Tensor got = coarse(x, sigma, Places::whole({8, 16}, 3), labelled);
  const double error = distance(got, expected) / expected.abs().max().item<double>();
  CHECK(got.scalar_type() == at::kFloat);
  CHECK(error > 1e-5);
  CHECK(error < 0.03);
  const auto record = coarse.record(x, sigma, Places::whole({8, 16}, 3), labelled, {.training = true});
  coarse.backward(record, at::ones_like(x));
  coarse.visit_parameters([](std::string_view name, at::Tensor&, at::Tensor& gradient) {
    CAPTURE(std::string(name));
    CHECK(gradient.scalar_type() == at::kFloat);
    CHECK(at::isfinite(gradient).all().item<bool>());
  });
  CHECK_FALSE(torch_compat::autocast_enabled(at::kCPU));
}

TEST_CASE("a host's own autocast does not reach into training") {
  DenoiserWrapper denoiser{with_random_weights(SongUNet(options())),
                           {.image = {1, 8, 16}, .precision = Precision::bfloat16}};
  const std::vector<double> sigma{0.4, 2.0, 0.1};
  const Places places = Places::whole({8, 16}, 3);
  const at::Tensor x = random_tensor<B>({3, 1, 8, 16}, 2);
  const auto gradient_norm = [&] {
    zero_gradients(denoiser);
    denoiser(x, sigma, places, labelled);  // LibTorch would keep these weights' bfloat16 copies, without history
    denoiser.backward(denoiser.record(x, sigma, places, labelled, {}), x);
    double sum = 0;
    denoiser.visit_parameters([&](auto, at::Tensor&, at::Tensor& gradient) { sum += gradient.norm().item<double>(); });
    return sum;
  };
  const double expected = gradient_norm();
  at::autocast::increment_nesting();
  CHECK(gradient_norm() == expected);
  at::autocast::decrement_nesting();
  at::autocast::clear_cache();
}

TEST_CASE("many threads may denoise at once") {
  const DenoiserWrapper denoiser{with_random_weights(SongUNet(options())),
                                 {.image = {1, 8, 16}, .precision = Precision::bfloat16}};
  const auto sample = [&](std::uint64_t seed) {
    return ODESampler{{.num_steps = 3}}(denoiser,
                                        {.seeds = {seed}, .conditioning = {.class_labels = at::ones({1, 3})}});
  };
  std::vector<at::Tensor> expected, got(4);
  for (std::uint64_t seed = 0; seed < 4; ++seed) expected.push_back(sample(seed));
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 0; seed < 4; ++seed) threads.emplace_back([&, seed] { got[seed] = sample(seed); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t seed = 0; seed < 4; ++seed) CHECK(at::equal(got[seed], expected[seed]));
}

TEST_CASE("Adam is LibTorch's Adam, and a host's optimiser fits") {
  const auto make = [] { return DenoiserWrapper{SongUNet(options(), {1}, float64), {.image = {1, 8, 16}}}; };
  const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic({.image = {8, 16}}), .batch = 2});
  const auto train = [&](auto& denoiser, auto& optimizer) {
    TrainState state{.seed = 1};
    for (int i = 0; i < 3; ++i) {
      const PatchPlan plan = step.plan(state);
      step(denoiser, optimizer,
           {.images = random_tensor<B>({plan.images, 1, 8, 16}, 2, float64),
            .class_labels = random_tensor<B>({plan.images, 3}, 3, float64)},
           plan, state);
    }
    return weights(denoiser);
  };
  auto ours = make(), theirs = make();
  const std::vector<double> before = weights(ours);
  Adam<B> adam({.learning_rate = 0.01, .epsilon = 1e-4});
  TorchOptimizer torch_adam(
      std::make_unique<torch::optim::Adam>(theirs.network().parameters(), torch::optim::AdamOptions(1).eps(1e-4)));
  torch_adam.set_learning_rate(0.01);
  const std::vector<double> got = train(ours, adam), expected = train(theirs, torch_adam);
  double largest = 0, moved = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(got[i] - expected[i]));
    moved = std::max(moved, std::abs(got[i] - before[i]));
  }
  CHECK(moved > 0.01);
  CHECK(largest < 1e-6);  // the count of steps is in float32
}

TEST_CASE("SongUNet refuses settings that cannot work") {
  const auto make = [](auto&& change) {
    SongUNetOptions changed = options();
    change(changed);
    SongUNet net(changed);
  };
  CHECK_ERROR(ConfigError, "SongUNet: in_channels: expected at least 1, got 0",
              make([](auto& o) { o.in_channels = 0; }));
  CHECK_ERROR(ConfigError, "SongUNet: out_channels: expected at least 1, got 0",
              make([](auto& o) { o.out_channels = 0; }));
  CHECK_ERROR(ConfigError, "SongUNet: label_dim: expected at least 0, got -1", make([](auto& o) { o.label_dim = -1; }));
  CHECK_ERROR(ConfigError, "SongUNet: model_channels: expected a multiple of 4, got 6",
              make([](auto& o) { o.model_channels = 6; }));
  CHECK_ERROR(ConfigError, "SongUNet: num_blocks: expected at least 1, got 0", make([](auto& o) { o.num_blocks = 0; }));
  CHECK_ERROR(ConfigError, "SongUNet: dropout: expected a value in [0, 1), got 1",
              make([](auto& o) { o.dropout = 1; }));
  CHECK_ERROR(ConfigError, "SongUNet: channel_mult: expected 1 to 31 levels, got 0",
              make([](auto& o) { o.channel_mult.clear(); }));
  CHECK_ERROR(ConfigError, "SongUNet: channel_mult: expected factors of at least 1, got 0", make([](auto& o) {
                o.channel_mult = {1, 0};
              }));
  CHECK_ERROR(ConfigError, "SongUNet: image: expected sides divisible by 2, got 7x16", make([](auto& o) {
                o.image = {7, 16};
              }));
  CHECK_ERROR(ConfigError, "enc.8x16_block0.norm0: channels: expected a multiple of 32, got 132",
              make([](auto& o) { o.model_channels = 132; }));
}

TEST_CASE("a wrapped SongUNet refuses what does not fit") {
  const DenoiserWrapper denoiser{SongUNet(options()), {.image = {1, 8, 16}}};
  const std::vector<double> sigma{1, 1, 1};
  const auto run = [&](const at::Tensor& x, const Conditioning<B>& told) {
    return denoiser(x, sigma, Places::whole({x.size(2), x.size(3)}, 3), told);
  };
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected cpu Float, got cpu Double",
              run(at::zeros({3, 1, 8, 16}, float64.options()), labelled));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected cpu Float, got meta Float",
              run(at::zeros({3, 1, 8, 16}, at::TensorOptions(at::kMeta)), labelled));
  CHECK_ERROR(ShapeError,
              "DenoiserWrapper: x: expected height and width divisible by 2, as the network needs, got [3, 1, 3, 4]",
              run(at::zeros({3, 1, 3, 4}), labelled));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [3, 3], got none",
              run(at::zeros({3, 1, 8, 16}), {}));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [3, 3], got [3, 4]",
              run(at::zeros({3, 1, 8, 16}), {.class_labels = at::zeros({3, 4})}));
}

TEST_CASE("A device without an index is the one that its tensors name") {
  DenoiserWrapper denoiser(SongUNet(options(), {}, {at::Device("cpu:0")}), {.image = {1, 8, 16}});
  CHECK(denoiser.device() == TorchDevice{});
  const std::vector<double> sigma{1};
  const at::Tensor x = at::zeros({1, 1, 8, 16});
  CHECK(B::shape(denoiser(x, sigma, Places::whole({8, 16}, 1), {.class_labels = at::zeros({1, 3})})) ==
        Shape{1, 1, 8, 16});
}

TEST_CASE("Labels of another type or device are refused before the network sees them") {
  DenoiserWrapper denoiser(SongUNet(options()), {.image = {1, 8, 16}});
  const std::vector<double> sigma{1};
  const auto run = [&](const at::Tensor& labels) {
    denoiser(at::zeros({1, 1, 8, 16}), sigma, Places::whole({8, 16}, 1), {.class_labels = labels});
  };
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected cpu Float, got cpu Double",
              run(at::zeros({1, 3}, at::kDouble)));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected cpu Float, got meta Float",
              run(at::zeros({1, 3}, at::kMeta)));
}

TEST_CASE("Dropout scales what it keeps by 1 / (1 - p), rounded once") {
  const at::Tensor x = at::arange(0x3f80, 0x4000, at::kShort).view({1, -1}).view(at::kBFloat16);  // all in [1, 2)
  const at::Tensor y = unet::dropout(x, 0.1, {.training = true}, 0);
  const at::Tensor kept = y != 0;
  CHECK(kept.sum().item<int>() > 64);
  CHECK(at::equal(y.masked_select(kept),
                  (x.to(at::kFloat) * static_cast<float>(1 / 0.9)).to(at::kBFloat16).masked_select(kept)));
  CHECK(unet::dropout(at::zeros({0, 4}), 0.1, {.training = true}, 0).numel() == 0);
}

}  // namespace
}  // namespace patchdiff
