// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/nn/eigen/small_unet.hpp>
#include <patchdiff/torch.hpp>

#include "support/torch_catch.hpp"

#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using E = EigenBackend<double>;
using T = TorchBackend;

const TorchDevice float64{at::kCPU, at::kDouble};

/// SmallUNet from LibTorch's layers, with autograd for a gradient and the same weights.
class TorchSmallUNet : public AutogradNetwork<TorchSmallUNet> {
 public:
  explicit TorchSmallUNet(SmallUNet<double>& like) : AutogradNetwork(float64), options_(like.options()) {
    like.visit_state([&](std::string_view name, E::Tensor& value) {
      at::Tensor copy = tensor<T>(E::shape(value), E::to_host(value), float64);
      weights_[std::string(name)] = add_parameter(std::string(name), copy);
    });
  }

  at::Tensor forward(const at::Tensor& input, std::span<const double> c_noise, const Conditioning<T>& conditioning,
                     const Pass&) const {
    const std::int64_t half = options_.model_channels / 2;
    const at::Tensor frequencies = at::pow(16.0, at::arange(half, float64.options()) / (half - 1));
    const std::vector<double> noise(c_noise.begin(), c_noise.end());
    const at::Tensor angles = tensor<T>({static_cast<std::int64_t>(noise.size()), 1}, noise, float64) * frequencies;
    at::Tensor e = linear("embedding.noise", at::cat({angles.sin(), angles.cos()}, 1));
    if (conditioning.class_labels) e = e + linear("embedding.labels", *conditioning.class_labels);
    e = at::silu(linear("embedding.outer", at::silu(e)));

    const std::size_t levels = options_.channel_mult.size();
    at::Tensor x = convolution("stem", input);
    std::vector<at::Tensor> skips;
    for (std::size_t level = 0; level < levels; ++level) {
      const std::string prefix = "level" + std::to_string(level) + ".";
      x = blocks(prefix + "down", x, e);
      if (level + 1 == levels) break;
      skips.push_back(x);
      x = convolution(prefix + "widen", at::avg_pool2d(x, {2, 2}));
    }
    for (std::size_t level = levels - 1; level-- > 0;) {
      const std::string prefix = "level" + std::to_string(level) + ".";
      x = convolution(prefix + "narrow", x);
      x = skips[level] + at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
      x = blocks(prefix + "up", x, e);
    }
    x = at::group_norm(x, x.size(1) / 4, weight("last.norm.weight"), weight("last.norm.bias"), 1e-6);
    return convolution("last.conv", at::silu(x));
  }

  TorchSmallUNet(TorchSmallUNet&&) noexcept = default;

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t size_divisor() const noexcept { return std::int64_t{1} << (options_.channel_mult.size() - 1); }

 private:
  const at::Tensor& weight(const std::string& name) const { return weights_.at(name); }
  at::Tensor linear(const std::string& name, const at::Tensor& x) const {
    return at::linear(x, weight(name + ".weight"), weight(name + ".bias"));
  }
  at::Tensor convolution(const std::string& name, const at::Tensor& x) const {
    const at::Tensor& kernel = weight(name + ".weight");
    return at::conv2d(x, kernel, weight(name + ".bias"), 1, kernel.size(2) / 2);
  }
  at::Tensor blocks(const std::string& prefix, at::Tensor x, const at::Tensor& e) const {
    for (std::int64_t block = 0; block < options_.num_blocks; ++block) {
      const std::string name = prefix + std::to_string(block);
      const std::int64_t groups = x.size(1) / 4;
      at::Tensor h = at::group_norm(x, groups, weight(name + ".norm.weight"), weight(name + ".norm.bias"), 1e-6);
      h = at::group_norm(convolution(name + ".conv0", at::silu(h)), groups, {}, {}, 1e-6);
      const std::vector<at::Tensor> affine = linear(name + ".affine", e).unsqueeze(2).unsqueeze(3).chunk(2, 1);
      x = x + convolution(name + ".conv1", at::silu(h * (1 + affine[0]) + affine[1]));
    }
    return x;
  }

  SmallUNetOptions options_;
  std::map<std::string, at::Tensor> weights_;
};

SmallUNet<double> network(std::vector<std::int64_t> channel_mult, std::int64_t num_blocks) {
  SmallUNet<double> net({.in_channels = 3,
                         .out_channels = 1,
                         .label_dim = 2,
                         .model_channels = 8,
                         .channel_mult = std::move(channel_mult),
                         .num_blocks = num_blocks},
                        {1});
  std::uint64_t seed = 0;
  net.visit_state([&](std::string_view, E::Tensor& value) {
    E::blend(value, random_tensor<E>(value.shape(), ++seed), 0.1);  // no layer near zero
  });
  return net;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

template <class Net>
std::map<std::string, std::vector<double>> numbers(Net& net, bool gradients) {
  std::map<std::string, std::vector<double>> all;
  net.visit_parameters([&](std::string_view name, auto& value, auto& gradient) {
    all[std::string(name)] = Net::Backend::to_host(gradients ? gradient : value);
  });
  return all;
}

TEST_CASE("SmallUNet is LibTorch's layers in a row, and its gradients those of autograd") {
  const std::vector<double> c_noise{-0.8, 0.3, 1.1};
  for (const auto& [mult, blocks, size] : {std::tuple{std::vector<std::int64_t>{1, 2, 1}, 2, ImageSize{8, 12}},
                                           {std::vector<std::int64_t>{1}, 1, ImageSize{1, 3}},
                                           {std::vector<std::int64_t>{5, 1}, 1, ImageSize{46, 24}}}) {
    SmallUNet<double> ours = network(mult, blocks);
    TorchSmallUNet theirs(ours);
    const Shape in{3, 3, size.height, size.width}, out{3, 1, size.height, size.width};
    const auto record = ours.record(random_tensor<E>(in, 5), c_noise, {.class_labels = random_tensor<E>({3, 2}, 6)},
                                    {.input_gradient = true});
    const auto expected =
        theirs.record(random_tensor<T>(in, 5, float64), c_noise, {.class_labels = random_tensor<T>({3, 2}, 6, float64)},
                      {.input_gradient = true});
    CHECK(distance(E::to_host(record.output), T::to_host(expected.output)) < 1e-10);
    const auto slope = ours.backward(record, random_tensor<E>(out, 7));
    const auto expected_slope = theirs.backward(expected, random_tensor<T>(out, 7, float64));
    CHECK(distance(E::to_host(slope.value()), T::to_host(expected_slope.value())) < 1e-10);
    const auto expected_gradients = numbers(theirs, true);
    for (const auto& [name, gradient] : numbers(ours, true)) {
      CAPTURE(name);
      double scale = 1;
      for (const double value : gradient) scale = std::max(scale, std::abs(value));
      CHECK(distance(gradient, expected_gradients.at(name)) < 1e-10 * scale);
    }
  }
}

// Adam divides by a gradient's size: where that is rounding alone, nothing but its epsilon keeps the two together.
TEST_CASE("a hundred steps on Eigen and on LibTorch lead to the same weights") {
  constexpr ImageShape image{1, 8, 8};
  const auto train = [&]<class B>(auto& denoiser, typename B::Device device, std::type_identity<B>) {
    const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic({.image = image.size(), .size_divisor = 2}),
                             .batch = 2,
                             .label_dropout = 0.2});
    Adam<B> adam({.learning_rate = 1e-2, .epsilon = 1e-4});
    TrainState state{.seed = 3};
    for (int i = 0; i < 100; ++i) {
      const PatchPlan plan = step.plan(state);
      step(denoiser, adam,
           {.images = random_tensor<B>({plan.images, 1, 8, 8}, state.step, device),
            .class_labels = random_tensor<B>({plan.images, 2}, state.step + 1000, device)},
           plan, state);
    }
  };
  SmallUNet<double> start = network({1, 2}, 1);
  DenoiserWrapper theirs{TorchSmallUNet(start), {.image = image}};
  DenoiserWrapper ours{start.clone(), {.image = image}};
  train(ours, E::Device{}, std::type_identity<E>{});
  train(theirs, float64, std::type_identity<T>{});
  const auto before = numbers(start, false), expected = numbers(theirs, false);
  double moved = 0;
  for (const auto& [name, weight] : numbers(ours, false)) {
    CAPTURE(name);
    CHECK(distance(weight, expected.at(name)) < 1e-8);
    moved = std::max(moved, distance(weight, before.at(name)));
  }
  CHECK(moved > 0.1);
}

TEST_CASE("the bits do not depend on OpenMP's threads, which Eigen would use here") {
  const int threads = at::get_num_threads();
  const auto run = [](int openmp_threads) {
    at::set_num_threads(openmp_threads);
    SmallUNet<double> net = network({8, 8}, 1);
    const Shape in{2, 3, 16, 16}, out{2, 1, 16, 16};
    const auto record = net.record(random_tensor<E>(in, 5), std::vector<double>{0.1, 0.2}, {}, {});
    net.backward(record, random_tensor<E>(out, 7));
    auto all = numbers(net, true);
    all["output"] = E::to_host(record.output);
    return all;
  };
  const auto expected = run(1);
  CHECK(run(3) == expected);
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace patchdiff
