// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>
#include <patchdiff/nn/torch/bfloat16_convolution.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/cpu_convolution.hpp>
#include <patchdiff/nn/torch/cpu_group_norm.hpp>
#include <patchdiff/nn/torch/cpu_scaled_sum.hpp>
#include <patchdiff/nn/torch/norm_gradient_kernels.hpp>
#include <patchdiff/nn/torch/norm_kernels.hpp>
#include <patchdiff/nn/torch/weight_casts.hpp>
#include <patchdiff/nn/torch/winograd_convolution.hpp>
#include <patchdiff/torch.hpp>

#include "support/torch_catch.hpp"

#include "plain_unet.hpp"
#include "support/errors.hpp"
#include "support/operator_counts.hpp"
#include "support/random_weights.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;

/// Largest difference, relative to the largest value.
double error(const at::Tensor& got, const at::Tensor& expected) {
  return ((got.to(at::kDouble) - expected.to(at::kDouble)).abs().max() / expected.to(at::kDouble).abs().max())
      .item<double>();
}

/// Whether the processor has what kernels on activations of this type take.
bool has_kernels(at::ScalarType type) { return type == at::kFloat ? has_avx2() : has_avx512(); }

/// Whether f convolves by tiles.
template <class F>
bool by_tiles(const F& f) {
  const OperatorCounts observed;
  f();
  return OperatorCounts::counts()["patchdiff::convolution"] > 0;
}

/// Group norm told by shift, scale and offset, in float64 by LibTorch.
at::Tensor reference(const std::vector<at::Tensor>& of, std::int64_t groups, bool silu) {
  const auto by_channel = [](const at::Tensor& values) { return values.unsqueeze(2).unsqueeze(3); };
  const at::Tensor h = of[1].numel() > 0 ? of[0] + by_channel(of[1]) : of[0];
  const at::Tensor y = at::group_norm(h, groups, {}, {}, 1e-6) * by_channel(of[2]) + by_channel(of[3]);
  return silu ? at::silu(y) : y;
}

struct Case {
  std::int64_t channels, groups, height, width;
  double mean;
};

TEST_CASE("group norm with SiLU by our kernels is that in float64, rounded once; its gradients too") {
  // One vector and some, groups that share a vector and that have several, single pixels, more pixels than a block; a
  // mean far above the deviation.
  const Case given = GENERATE(Case{16, 4, 3, 5, 0}, Case{32, 8, 1, 1, 0}, Case{48, 12, 9, 9, 0.5},
                              Case{64, 16, 8, 8, 30}, Case{96, 3, 2, 3, 0}, Case{192, 32, 4, 4, -1});
  const bool shifted = GENERATE(false, true), silu = GENERATE(false, true);
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  if (!has_kernels(type)) return;
  CAPTURE(given.channels, given.height, given.mean, shifted, silu, type);
  const Shape shape{3, given.channels, given.height, given.width}, by_channel{3, given.channels};
  const at::Tensor x = (random_tensor<B>(shape, 1) + given.mean).to(type);
  const at::Tensor cotangent = random_tensor<B>(shape, 2).to(type);
  const at::Tensor shift = shifted ? random_tensor<B>(by_channel, 3) : at::empty({0});
  const std::vector<at::Tensor> inputs{x, shift, random_tensor<B>(by_channel, 4), random_tensor<B>(by_channel, 5)};

  std::vector<at::Tensor> ours, exact;
  for (const at::Tensor& input : inputs) {
    ours.push_back(input.dim() == 4 ? unet::channels_last(input, type).detach().requires_grad_()
                                    : input.detach().clone());
    exact.push_back(input.to(at::kDouble).requires_grad_());
    ours.back().requires_grad_();
  }
  const at::Tensor got = unet::CpuGroupNorm::apply(ours[0], ours[1], ours[2], ours[3], given.groups, 1e-6, silu);
  const at::Tensor expected = reference(exact, given.groups, silu);
  CHECK(got.scalar_type() == type);
  const double rounding = type == at::kFloat ? 1e-6 : 0x1p-8;
  CHECK(((got.to(at::kDouble) - expected).abs() <= expected.abs() * rounding + 2e-5).all().item<bool>());

  std::vector<at::Tensor> wanted, exactly;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].numel() == 0) continue;
    wanted.push_back(ours[i]);
    exactly.push_back(exact[i]);
  }
  const auto gradients = torch::autograd::grad({got}, wanted, {cotangent});
  const auto exact_gradients = torch::autograd::grad({expected}, exactly, {cotangent.to(at::kDouble)});
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    CAPTURE(i);
    // A single pixel of a group of few values has a gradient of x of almost zero.
    const bool nothing = exact_gradients[i].abs().max().item<double>() < 1e-3;
    if (!nothing) CHECK(error(gradients[i], exact_gradients[i]) < (i == 0 && type == at::kBFloat16 ? 4e-3 : 2e-4));
  }
}

/// Compares the kernels as they are with those compiled for vectors V.
template <class V, class Value>
void check_norm_kernels(at::ScalarType type, double tolerance) {
  CAPTURE(type);
  const std::int64_t channels = 48, groups = 12, pixels = 70;
  const at::Tensor x = random_tensor<B>({pixels, channels}, 1).to(type);
  const at::Tensor cotangent = random_tensor<B>({pixels, channels}, 2).to(type);
  const at::Tensor told = random_tensor<B>({3, channels}, 3);
  const auto run = [&](auto&& norm, auto&& backward) {
    std::vector<at::Tensor> results{at::empty_like(x),    at::empty({groups}),   at::empty({groups}),
                                    at::empty_like(x),    at::empty({channels}), at::empty({channels}),
                                    at::empty({channels})};
    torch_cpu::ChannelArrays work(8, channels);
    const float* values = told.data_ptr<float>();
    const torch_cpu::NormSample<Value> sample{.pixels = pixels,
                                              .channels = channels,
                                              .groups = groups,
                                              .epsilon = 1e-6,
                                              .silu = true,
                                              .x = unet::values_of<Value>(x),
                                              .shift = values,
                                              .scale = values + channels,
                                              .offset = values + 2 * channels,
                                              .mean = results[1].data_ptr<float>(),
                                              .inverse_deviation = results[2].data_ptr<float>(),
                                              .y = unet::values_of<Value>(results[0])};
    norm(sample, work);
    backward(sample,
             torch_cpu::NormGradients<Value>{.y = unet::values_of<Value>(cotangent),
                                             .x = unet::values_of<Value>(results[3]),
                                             .shift = results[4].data_ptr<float>(),
                                             .scale = results[5].data_ptr<float>(),
                                             .offset = results[6].data_ptr<float>()},
             work);
    return results;
  };
  const auto chosen = run([](const auto& sample, auto& work) { torch_cpu::norm<V>(sample, work); },
                          [](const auto& sample, const auto& gradients, auto& work) {
                            torch_cpu::norm_backward<V>(sample, gradients, work);
                          });
  const auto plain = run([](const auto& sample, auto& work) { torch_cpu::norm_body<V>(sample, work); },
                         [](const auto& sample, const auto& gradients, auto& work) {
                           torch_cpu::norm_backward_body<V>(sample, gradients, work);
                         });
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i);
    CHECK(error(chosen[i], plain[i]) < (i == 0 || i == 3 ? tolerance : 2e-5));
  }
}

TEST_CASE("both ways of compiling the kernels agree") {
  if (has_avx512()) check_norm_kernels<torch_cpu::Floats, torch_cpu::Bits16>(at::kBFloat16, 8e-3);
  if (has_avx512()) check_norm_kernels<torch_cpu::Floats, float>(at::kFloat, 2e-5);
  if (has_avx2()) check_norm_kernels<torch_cpu::Floats8, float>(at::kFloat, 2e-5);
}

TEST_CASE("what is not finite stays so") {
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  if (!has_kernels(type)) return;
  const float bad = GENERATE(std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN());
  CAPTURE(type, bad);
  at::Tensor x = at::zeros({1, 16, 2, 2});
  x[0][0][0][0] = bad;
  const at::Tensor ones = at::ones({1, 16});
  const at::Tensor y =
      unet::CpuGroupNorm::apply(unet::channels_last(x, type), at::empty({0}), ones, ones, 4, 1e-6, true);
  CHECK_FALSE(at::isfinite(y.select(1, 0)).any().item<bool>());
  CHECK(at::isfinite(y.narrow(1, 4, 4)).all().item<bool>());

  if (type == at::kFloat) return;
  // Every NaN, not only the usual one: rounding adds to its bits.
  const std::int32_t every_bit = 0x7fffffff;
  float nan;
  std::memcpy(&nan, &every_bit, sizeof nan);
  std::vector<float> weight(20, nan);
  std::vector<torch_cpu::Bits16> cast(20);
  torch_cpu::cast_weights(weight.data(), cast.data(), 0, 2, 10, 1);
  for (const torch_cpu::Bits16 bits : cast) CHECK((bits & 0x7fff) > 0x7f80);
}

TEST_CASE("a scaled sum is that of LibTorch, rounded once, and can be differentiated twice") {
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  const at::Tensor x = random_tensor<B>({2, 3, 5, 7}, 1).to(type).requires_grad_();
  const at::Tensor y = random_tensor<B>({2, 3, 5, 7}, 2).to(type).requires_grad_();
  const at::Tensor sum = unet::scaled_sum(x, y, 0.7);
  const at::Tensor expected = ((x.to(at::kDouble) + y.to(at::kDouble)) * 0.7).to(type);
  CHECK(at::allclose(sum.to(at::kFloat), expected.to(at::kFloat), type == at::kFloat ? 1e-6 : 0x1p-8, 1e-7));
  const at::Tensor gradient = torch::autograd::grad({sum.square().sum()}, {x}, {}, true, true).front();
  CHECK(error(gradient, 1.4 * expected) < 1e-2);
  const at::Tensor second = torch::autograd::grad({gradient.sum()}, {y}).front();
  CHECK(error(second, at::full_like(y, 2 * 0.7 * 0.7)) < 1e-2);
}

TEST_CASE("group norm refuses what has not one row for each sample") {
  const at::Tensor x = unet::channels_last(at::zeros({2, 16, 2, 2}), at::kFloat), rows = at::ones({2, 16});
  const auto run = [&](const at::Tensor& shift, const at::Tensor& scale, const at::Tensor& offset) {
    return unet::CpuGroupNorm::apply(x, shift, scale, offset, 4, 1e-6, true);
  };
  CHECK_ERROR(ShapeError, "CpuGroupNorm: shift: expected [2, 16], got [1, 16]", run(at::ones({1, 16}), rows, rows));
  CHECK_ERROR(ShapeError, "CpuGroupNorm: shift: expected [2, 16], got [0, 16]", run(at::ones({0, 16}), rows, rows));
  CHECK_ERROR(ShapeError, "CpuGroupNorm: shift: expected [2, 16], got [16]", run(at::ones({16}), rows, rows));
  CHECK_ERROR(ShapeError, "CpuGroupNorm: scale: expected [2, 16], got [1, 16]",
              run(at::empty({0}), at::ones({1, 16}), rows));
  CHECK_ERROR(ShapeError, "CpuGroupNorm: offset: expected [2, 16], got [2, 8]", run(rows, rows, at::ones({2, 8})));
}

TEST_CASE("no samples give no samples") {
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  if (!has_kernels(type)) return;
  const at::Tensor none = at::empty({0, 16}).requires_grad_(), x = unet::channels_last(at::empty({0, 16, 2, 2}), type);
  const at::Tensor y = unet::CpuGroupNorm::apply(x, at::empty({0}), none, none, 4, 1e-6, true);
  CHECK(y.sizes() == x.sizes());
  CHECK(torch::autograd::grad({y}, {none}, {y.detach()}).front().sizes() == none.sizes());
}

TEST_CASE("weights are cast as LibTorch casts them, and come back where they were") {
  if (!has_avx512()) return;
  for (const Shape& shape : {Shape{5, 3, 3, 3}, Shape{2, 40, 1, 1}, Shape{1, 17, 5, 5}}) {
    const std::int64_t taps = shape[2] * shape[3];
    const at::Tensor weight = random_tensor<B>(shape, 1);
    const at::Tensor cast = at::empty(shape, at::TensorOptions(at::kBFloat16), at::MemoryFormat::ChannelsLast);
    const at::Tensor back = at::empty(shape);
    torch_cpu::cast_weights(weight.data_ptr<float>(), unet::bits(cast), 0, shape[0], shape[1], taps);
    torch_cpu::widen_weights(unet::bits(cast), back.data_ptr<float>(), 0, shape[0], shape[1], taps);
    CHECK(at::equal(cast, weight.to(at::kBFloat16)));
    CHECK(at::equal(back, weight.to(at::kBFloat16).to(at::kFloat)));
  }
}

TEST_CASE("a convolution in bfloat16 has the gradients of one in float, and second derivatives") {
  if (!has_avx512()) return;
  const at::Tensor x = random_tensor<B>({2, 3, 6, 5}, 1).requires_grad_();
  const at::Tensor weight = (random_tensor<B>({4, 3, 3, 3}, 2) * 0.2).requires_grad_();
  const at::Tensor bias = random_tensor<B>({4}, 3).requires_grad_();
  const at::Tensor cotangent = random_tensor<B>({2, 4, 6, 5}, 4);
  const auto gradients = [&](bool in_bfloat16, bool again) {
    const at::Tensor y =
        in_bfloat16
            ? unet::BFloat16Convolution::apply(unet::channels_last(x, at::kBFloat16), weight, bias, 1).to(at::kFloat)
            : at::conv2d(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble), 1, 1).to(at::kFloat);
    return torch::autograd::grad({y.square()}, {x, weight, bias}, {cotangent}, again, again);
  };
  const auto expected = gradients(false, false), got = gradients(true, false), again = gradients(true, true);
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    CHECK(got[i].scalar_type() == at::kFloat);
    CHECK(error(got[i], expected[i]) < 0.02);
    CHECK(error(again[i], expected[i]) < 0.02);
  }
  const auto second = [&](bool in_bfloat16) {
    const auto first = gradients(in_bfloat16, true);
    return torch::autograd::grad({first[0].square().sum()}, {weight}).front();
  };
  CHECK(error(second(true), second(false)) < 0.05);
}

/// x [n, in, h, w], weight, bias and a cotangent of a 3x3 convolution, in float.
std::vector<at::Tensor> convolution_inputs(std::int64_t n, std::int64_t in, std::int64_t out, std::int64_t height,
                                           std::int64_t width) {
  return {random_tensor<B>({n, in, height, width}, 1) + 0.5, random_tensor<B>({out, in, 3, 3}, 2) * 0.1,
          random_tensor<B>({out}, 3), random_tensor<B>({n, out, height, width}, 4)};
}

/// The result of a convolution and the gradients of x, weight and bias.
template <class F>
std::vector<at::Tensor> with_gradients(const std::vector<at::Tensor>& inputs, const F& convolve) {
  std::vector<at::Tensor> leaves;
  for (std::size_t i = 0; i < 3; ++i) leaves.push_back(inputs[i].detach().requires_grad_());
  std::vector<at::Tensor> results{convolve(leaves[0], leaves[1], leaves[2])};
  for (at::Tensor& gradient : torch::autograd::grad({results[0]}, leaves, {inputs[3]})) {
    results.push_back(std::move(gradient));
  }
  return results;
}

/// Of activations in the type of the inputs.
std::vector<at::Tensor> by_kernel(const std::vector<at::Tensor>& inputs) {
  return with_gradients(inputs, [](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return unet::CpuConvolution::apply(unet::channels_last(x, x.scalar_type()), weight, bias);
  });
}

std::vector<at::Tensor> in_float64(std::vector<at::Tensor> inputs) {
  for (at::Tensor& input : inputs) input = input.to(at::kDouble);
  return with_gradients(inputs, [](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return at::conv2d(x, weight, bias, 1, 1);
  });
}

/// Largest error of a result beside its largest value: F(2x2, 3x3) in float stays below 6e-7 at up to 256 channels,
/// F(4x4, 3x3) below 4e-6 at up to 128; what is stored in bfloat16 is rounded once.
constexpr double convolution_tolerance = 2e-6, large_tiles_tolerance = 8e-6, bfloat16_tolerance = 1.0 / 256;

TEST_CASE("a convolution by tiles is that in float64, its gradients too") {
  // Single pixels, sides that are odd or not equal, one image and some, less than a panel of channels and each number
  // of vectors beyond one, more tiles than a block, which is not the last; the last two by large tiles.
  struct Shapes {
    std::int64_t n, in, out, height, width;
  };
  const Shapes of =
      GENERATE(Shapes{1, 16, 16, 1, 1}, Shapes{2, 32, 48, 7, 5}, Shapes{1, 80, 144, 1, 9}, Shapes{3, 16, 32, 6, 2},
               Shapes{2, 48, 16, 2, 3}, Shapes{2, 64, 64, 16, 16}, Shapes{5, 16, 96, 13, 8}, Shapes{1, 112, 64, 31, 17},
               Shapes{3, 80, 48, 18, 27}, Shapes{75, 32, 144, 4, 3});
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  if (!has_kernels(type)) return;
  CAPTURE(of.n, of.in, of.out, of.height, of.width, type);
  auto inputs = convolution_inputs(of.n, of.in, of.out, of.height, of.width);
  for (const std::size_t activations : {0, 3}) inputs[activations] = inputs[activations].to(type);
  const auto got = by_kernel(inputs), exact = in_float64(inputs);
  const bool by_large = unet::CpuConvolution::large_tiles_gain(inputs[0], inputs[1]);
  CHECK(by_large == (of.height == 18 || of.n == 75));
  const double tolerance = by_large ? large_tiles_tolerance : convolution_tolerance;
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    const bool is_weight = i > 1;
    CHECK(got[i].scalar_type() == (is_weight ? at::kFloat : type));
    CHECK(got[i].sizes() == exact[i].sizes());
    CHECK(error(got[i], exact[i]) < (is_weight || type == at::kFloat ? tolerance : bfloat16_tolerance));
  }
}

TEST_CASE("a convolution by tiles has the same bits with any number of threads") {
  if (!has_avx2()) return;
  const int before = at::get_num_threads();
  const std::int64_t images = GENERATE(2, 5);  // small tiles, then large ones
  const auto inputs = convolution_inputs(images, 48, 80, 15, 16);
  CHECK(unet::CpuConvolution::large_tiles_gain(inputs[0], inputs[1]) == (images == 5));
  at::set_num_threads(1);
  const auto expected = by_kernel(inputs);
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    at::set_num_threads(threads);
    const auto got = by_kernel(inputs);
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(at::equal(got[i], expected[i]));
  }
  at::set_num_threads(before);
}

TEST_CASE("a layer convolves whatever lies in memory, and by tiles where that gains") {
  auto inputs = convolution_inputs(2, 16, 32, 6, 7);
  const unet::Conv2d layer({inputs[1], inputs[2]});
  const at::Tensor expected = in_float64(inputs).front();
  const at::Tensor wide = random_tensor<B>({2, 32, 6, 14}, 5);
  const at::Tensor gaps = wide.slice(1, 0, 32, 2).slice(3, 0, 14, 2).copy_(inputs[0]);
  for (const at::Tensor& x : {inputs[0], gaps, inputs[0].transpose(2, 3).contiguous().transpose(2, 3)}) {
    CHECK(error(layer(x), expected) < convolution_tolerance);
  }
  using unet::CpuConvolution;
  const at::Tensor &x = inputs[0], &weight = inputs[1];
  CHECK_FALSE(CpuConvolution::gains(x, weight, 2));
  CHECK_FALSE(CpuConvolution::gains(x, weight.narrow(0, 0, 24), 1));
  CHECK_FALSE(CpuConvolution::gains(wide.narrow(1, 0, 24), at::empty({32, 24, 3, 3}), 1));
  CHECK_FALSE(CpuConvolution::gains(x.narrow(0, 0, 0), weight, 1));
  CHECK_FALSE(CpuConvolution::gains(x, at::empty({32, 16, 1, 1}), 1));
  CHECK_FALSE(CpuConvolution::gains(x, at::empty({32, 32, 3, 3}), 1));
  CHECK_FALSE(CpuConvolution::gains(x.to(at::kBFloat16), weight, 1));
  const at::Tensor wide_weight = at::empty({32, 32, 3, 3});
  CHECK(CpuConvolution::gains(wide, wide_weight, 1) == has_avx2());
  CHECK(CpuConvolution::gains(wide.to(at::kBFloat16), wide_weight, 1) == (has_avx512() && !has_amx_bfloat16()));
  CHECK_THROWS_AS(layer(x.narrow(1, 0, 15)), c10::Error);
  CHECK(by_tiles([&] { layer(x); }) == CpuConvolution::gains(x, weight, 1));
  {
    const AutocastGuard in_bfloat16(at::kCPU, Precision::bfloat16);
    const unet::Conv2d wide_layer({wide_weight, at::zeros({32})});
    CHECK(by_tiles([&] { wide_layer(wide); }) == (has_avx512() && !has_amx_bfloat16()));
  }

  const at::Tensor leaf = x.detach().requires_grad_();
  CHECK(error(torch::autograd::grad({layer(leaf)}, {leaf}, {inputs[3]}).front(), in_float64(inputs)[1]) <
        convolution_tolerance);
}

TEST_CASE("group norm of channels that fill no vectors is LibTorch's") {
  const std::int64_t channels = GENERATE(16, 24);
  const at::Tensor x = random_tensor<B>({2, channels, 3, 5}, 1);
  struct Parameters : TorchParameters {
    Parameters() : TorchParameters(TorchDevice{}) {}
  } parameters;
  unet::WeightMaker make{parameters, RandomKey{}};
  unet::GroupNorm norm(make, "norm", channels, 1e-6);
  norm.weight = random_tensor<B>({channels}, 2);
  norm.bias = random_tensor<B>({channels}, 3);
  const bool by_kernel = has_avx2() && channels == 16;
  at::Tensor got;
  {
    const OperatorCounts observed;
    got = norm.with_silu(x);
    CHECK((OperatorCounts::counts()["aten::group_norm"] == 0) == by_kernel);
  }
  CHECK(error(got, at::silu(at::group_norm(x, norm.groups, norm.weight, norm.bias, norm.epsilon))) < 1e-5);
}

TEST_CASE("layers of our own keep LibTorch's rules of autograd") {
  const at::Tensor x = random_tensor<B>({2, 3}, 1), y = random_tensor<B>({2, 3}, 2).requires_grad_();
  SECTION("what needs no gradient is not recorded") {
    CHECK_FALSE(unet::scaled_sum(x, x, 2).requires_grad());
    const at::NoGradGuard none;
    CHECK_FALSE(unet::scaled_sum(x, y, 2).requires_grad());
  }
  SECTION("inputs that have changed since are an error, and a second backward is") {
    if (!has_avx2()) return;
    const at::Tensor leaf = at::ones({1, 16, 2, 2}).requires_grad_(), image = leaf * 1, ones = at::ones({1, 16});
    const at::Tensor result =
        unet::CpuGroupNorm::apply(unet::channels_last(image, at::kFloat), at::empty({0}), ones, ones, 4, 1e-6, true);
    torch::autograd::grad({result.sum()}, {leaf}, {}, /*retain_graph=*/true);
    ones.add_(1);
    CHECK_THROWS_WITH(torch::autograd::grad({result.sum()}, {leaf}, {}, true),
                      Catch::Contains("modified by an inplace"));
    const at::Tensor again =
        unet::CpuGroupNorm::apply(unet::channels_last(image, at::kFloat), at::empty({0}), ones, ones, 4, 1e-6, true);
    torch::autograd::grad({again.sum()}, {leaf}, {}, true);
    torch::autograd::grad({again.sum()}, {leaf});
    CHECK_THROWS_WITH(torch::autograd::grad({again.sum()}, {leaf}), Catch::Contains("a second time"));
  }
  SECTION("there are no forward derivatives") {
    const auto level = torch::autograd::forward_ad::enter_dual_level();
    CHECK_THROWS_WITH(unet::scaled_sum(at::_make_dual(x, x, static_cast<std::int64_t>(level)), y, 2),
                      Catch::Contains("tensors without tangents"));
    torch::autograd::forward_ad::exit_dual_level(level);
  }
}

TEST_CASE("a convolution by tiles can be differentiated twice") {
  if (!has_avx2()) return;
  const auto inputs = convolution_inputs(2, 16, 32, 5, 4);
  const auto second = [&](at::ScalarType type) {
    const at::ScalarType of_weights = type == at::kDouble ? at::kDouble : at::kFloat;
    std::vector<at::Tensor> leaves;
    for (std::size_t i = 0; i < 3; ++i) leaves.push_back(inputs[i].to(of_weights).detach().requires_grad_());
    const at::Tensor y = type == at::kDouble
                             ? at::conv2d(leaves[0], leaves[1], leaves[2], 1, 1)
                             : unet::CpuConvolution::apply(unet::channels_last(leaves[0], type), leaves[1], leaves[2]);
    const auto first = torch::autograd::grad({y.square()}, leaves, {inputs[3].to(type)}, true, true);
    return torch::autograd::grad({first[0].square().sum() + first[2].square().sum()}, leaves);
  };
  const auto exact = second(at::kDouble);
  for (const auto& [type, tolerance] : {std::pair(at::kFloat, 1e-5), std::pair(at::kBFloat16, 0.05)}) {
    if (!has_kernels(type)) continue;
    CAPTURE(type);
    const auto got = second(type);
    for (std::size_t i = 0; i < exact.size(); ++i) CHECK(error(got[i], exact[i]) < tolerance);
  }
}

template <class V, auto Kernel>
constexpr auto as_chosen = [](auto&&... of) { torch_cpu::with_vectors<V, Kernel>(of...); };
template <auto Kernel>
constexpr auto as_is = [](auto&&... of) { Kernel(of...); };

/// Compares the tiles' kernels over vectors V with float64, as they are and, on a processor that has such vectors,
/// compiled for it.
template <class Tiles, class V>
void check_tile_kernels(bool has_vectors, double tolerance) {
  using namespace torch_cpu;
  constexpr std::int64_t panel = product_columns<V>;
  CAPTURE(Tiles::side, lanes_of<V>);
  const auto inputs = convolution_inputs(2, 48, 80, 7, 6);
  const std::int64_t in = 48, out = 80;
  const at::Tensor x = inputs[0].permute({0, 2, 3, 1}).contiguous(), dy = inputs[3].permute({0, 2, 3, 1}).contiguous();
  const TileGrid grid{2, 7, 6, Tiles::side};
  const TileBlocks blocks = TileBlocks::of_about(grid.count() / 2 + 2, grid, product_rows<V>);
  REQUIRE(blocks.count() == 2);
  const auto numbers = [](const at::Tensor& values) { return values.data_ptr<float>(); };
  const auto run = [&](auto transform, auto input, auto product, auto output, auto gradient_input, auto bias_gradient,
                       auto gradient) {
    std::vector<at::Tensor> results{at::zeros_like(dy), at::zeros_like(inputs[1]), at::zeros_like(inputs[2])};
    WeightPanels panels{.in = in, .out = out, .panel = panel, .places = Tiles::places};
    const at::Tensor weights = work_space(panels.size()), sums = work_space(Tiles::places * in * out);
    const std::int64_t room = PlaceMatrices::size<Tiles>(blocks.tiles, in);
    const at::Tensor space = work_space(room + PlaceMatrices::size<Tiles>(blocks.tiles, out));
    panels.values = numbers(weights);
    for (std::int64_t first = 0; first < out; first += lanes_of<V>) {
      transform(WinogradWeights{numbers(inputs[1]), in, out}, panels, first);
    }
    const PlaceMatrices transformed = PlaceMatrices::at(numbers(space), blocks.tiles, in);
    const PlaceMatrices of_panel = PlaceMatrices::at(numbers(space) + room, blocks.tiles, panel);
    for (std::int64_t block = 0; block < blocks.count(); ++block) {
      const TileRange from = blocks.range(block, in), to = blocks.range(block, out);
      input(from, numbers(x), transformed);
      for (std::int64_t first = 0; first < out; first += panel) {
        for (std::int64_t place = 0; place < Tiles::places; ++place) {
          product(panel_product(panels, first, place, from.last - from.first, transformed, of_panel));
        }
        output(to, of_panel, first, std::min(out, first + panel), numbers(inputs[2]), numbers(results[0]));
      }
      const GradientBlock of{from, to, transformed, PlaceMatrices::at(numbers(space) + room, blocks.tiles, out)};
      gradient_input(to, numbers(dy), of.gradients);
      for (std::int64_t place = 0; place < Tiles::places; ++place) {
        for (std::int64_t first = 0; first < out; first += panel) {
          product(gradient_product(of, place, first, panel, block > 0, numbers(sums) + place * in * out));
        }
      }
      bias_gradient(of, block > 0, numbers(results[2]));
    }
    for (std::int64_t first = 0; first < out; first += lanes_of<V>) {
      gradient(numbers(sums), in, out, first, numbers(results[1]));
    }
    return results;
  };
  const auto exact = in_float64(inputs);
  const std::vector<at::Tensor> expected{exact[0].permute({0, 2, 3, 1}), exact[2], exact[3]};
  const auto check = [&](const std::vector<at::Tensor>& got) {
    for (std::size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(error(got[i], expected[i]) < tolerance);
    }
  };
  check(run(as_is<&transform_weights_body<Tiles, V>>, as_is<&input_tiles<Tiles, V, float>>, as_is<&multiply_body<V>>,
            as_is<&output_tiles<Tiles, V, float>>, as_is<&gradient_tiles<Tiles, V, float>>,
            as_is<&bias_gradient_body<Tiles, V>>, as_is<&weight_gradient_body<Tiles, V>>));
  if (!has_vectors) return;
  check(run(as_chosen<V, &transform_weights_body<Tiles, V>>, as_chosen<V, &input_tiles<Tiles, V, float>>,
            as_chosen<V, &multiply_body<V>>, as_chosen<V, &output_tiles<Tiles, V, float>>,
            as_chosen<V, &gradient_tiles<Tiles, V, float>>, as_chosen<V, &bias_gradient_body<Tiles, V>>,
            as_chosen<V, &weight_gradient_body<Tiles, V>>));
}

TEST_CASE("the tiles' kernels are right over both kinds of vectors, in both ways of compiling them") {
  using namespace torch_cpu;
  check_tile_kernels<SmallTiles, Floats>(has_avx512(), convolution_tolerance);
  check_tile_kernels<SmallTiles, Floats8>(has_avx2(), convolution_tolerance);
  check_tile_kernels<LargeTiles, Floats>(has_avx512(), large_tiles_tolerance);
  check_tile_kernels<LargeTiles, Floats8>(has_avx2(), large_tiles_tolerance);
}

/// Values and gradients of a network whose weights are random.
template <class Net>
void check_as_plain(const typename Net::Options& options, std::int64_t side, const TorchDevice& device,
                    double tolerance) {
  Net network = with_random_weights(Net(options, {1}, device));
  plain::UNet oracle(options);
  oracle.to(device.scalar);
  oracle.copy_weights(network);
  const at::Tensor x = random_tensor<B>({2, 3, side, side}, 1, device), labels = random_tensor<B>({2, 3}, 2, device);
  const std::vector<double> c_noise{-0.4, 0.3};
  const auto record = network.record(x, c_noise, {.class_labels = labels}, {.training = true});
  const at::Tensor expected = oracle.forward(x, tensor<B>({2}, c_noise, device), labels);
  CHECK(error(record.output, expected.detach()) < tolerance);

  const at::Tensor cotangent = random_tensor<B>(expected.sizes().vec(), 3, device);
  network.backward(record, cotangent);
  expected.backward(cotangent);
  auto gradients = oracle.named_parameters();
  network.visit_parameters([&](std::string_view name, at::Tensor&, at::Tensor& gradient) {
    CAPTURE(name);
    const at::Tensor* parameter = gradients.find(std::string(name));
    REQUIRE(parameter != nullptr);
    // A bias before a norm has a gradient of rounding alone.
    if (parameter->grad().abs().max().item<double>() > 1e-3) CHECK(error(gradient, parameter->grad()) < 10 * tolerance);
  });
}

TEST_CASE("networks by our layers have the values and gradients of the same ones written plainly") {
  const std::int64_t side = GENERATE(32, 16);
  const auto [device, tolerance] =
      GENERATE(std::pair(TorchDevice{}, 1e-5), std::pair(TorchDevice{at::kCPU, at::kDouble}, 1e-11));
  CAPTURE(side, tolerance);
  const SongUNetOptions ddpmpp{.image = {32, 32},
                               .in_channels = 3,
                               .out_channels = 1,
                               .label_dim = 3,
                               .model_channels = 16,
                               .channel_mult = {1, 2, 2},
                               .num_blocks = 1,
                               .attn_resolutions = {16},
                               .dropout = 0};
  check_as_plain<SongUNet>(ddpmpp, side, device, tolerance);
  SongUNetOptions ncsnpp = ddpmpp;
  ncsnpp.embedding_type = EmbeddingType::fourier;
  ncsnpp.channel_mult_noise = 2;
  ncsnpp.encoder_type = EncoderType::residual;
  ncsnpp.resample_filter = {1, 3, 3, 1};
  check_as_plain<SongUNet>(ncsnpp, side, device, tolerance);
  SongUNetOptions skips = ddpmpp;
  skips.encoder_type = EncoderType::skip;
  skips.decoder_type = DecoderType::skip;
  skips.resample_filter = {1, 3, 3, 1};
  check_as_plain<SongUNet>(skips, side, device, tolerance);
  check_as_plain<DhariwalUNet>({.image = {32, 32},
                                .in_channels = 3,
                                .out_channels = 1,
                                .label_dim = 3,
                                .model_channels = 32,
                                .channel_mult = {2, 1, 4},
                                .num_blocks = 1,
                                .attn_resolutions = {8},
                                .dropout = 0},
                               side, device, tolerance);
}

}  // namespace
}  // namespace patchdiff
