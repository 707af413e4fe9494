// SPDX-License-Identifier: Apache-2.0
// Gradients by the noisy image on LibTorch: of a denoiser, of a measurement's misfit, of whole samples.
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/differentiable_denoiser.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/diffusion/posterior_denoiser.hpp>
#include <patchdiff/diffusion/torch/autograd_misfit.hpp>
#include <patchdiff/nn/torch/autograd_network.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;

const TorchDevice float64{at::kCPU, at::kDouble};

/// A 3x3 convolution under tanh, told noise level and label; float64.
class TinyNetwork : public AutogradNetwork<TinyNetwork> {
 public:
  TinyNetwork()
      : AutogradNetwork(float64),
        weight(add_parameter("weight", random_tensor<B>({1, 3, 3, 3}, 1, float64) / 3)),
        by_label(add_parameter("by_label", random_tensor<B>({2}, 2, float64))) {}

  at::Tensor forward(const at::Tensor& input, std::span<const double> c_noise, const Conditioning<B>& conditioning,
                     const Pass&) const {
    const auto count = static_cast<std::int64_t>(c_noise.size());
    const at::Tensor told = B::from_host(c_noise, {count}, float64) + conditioning.class_labels->matmul(by_label);
    return (at::conv2d(input, weight, {}, 1, 1) + told.view({count, 1, 1, 1})).tanh();
  }

  std::int64_t input_channels() const { return 3; }
  std::int64_t output_channels() const { return 1; }
  std::int64_t label_dim() const { return 2; }
  std::int64_t size_divisor() const { return 1; }

  at::Tensor weight;
  at::Tensor by_label;
};

const std::vector<double> sigma{0.5, 3};
const Places whole = Places::whole({4, 5}, 2);
const Conditioning<B> labels{.class_labels = random_tensor<B>({2, 2}, 3, float64)};
const at::Tensor x = random_tensor<B>({2, 1, 4, 5}, 4, float64);
const at::Tensor cotangent = random_tensor<B>({2, 1, 4, 5}, 5, float64);
const at::Tensor direction = random_tensor<B>({2, 1, 4, 5}, 6, float64);

TEST_CASE("a record for the input alone serves many cotangents, and leaves the weights' gradients as they were") {
  DenoiserWrapper denoiser{TinyNetwork(), {.image = {1, 4, 5}}};
  const auto full = denoiser.record(x, sigma, whole, labels, {.input_gradient = true});
  const at::Tensor expected = denoiser.backward(full, cotangent).value();
  const at::Tensor of_weight = denoiser.network().weight.grad().clone();
  const auto record = denoiser.record(x, sigma, whole, labels, by_input);
  CHECK(at::allclose(denoiser.backward(record, cotangent).value(), expected, 0, 1e-14));
  CHECK(at::allclose(denoiser.backward(record, -2 * cotangent).value(), -2 * expected, 0, 1e-14));
  CHECK(at::equal(denoiser.network().weight.grad(), of_weight));
  const auto neither = denoiser.record(x, sigma, whole, labels, {.parameter_gradients = false});
  CHECK_FALSE(denoiser.backward(neither, cotangent).has_value());
}

TEST_CASE("a sample has gradients by its noise and by the weights, through solver and guidance") {
  DenoiserWrapper denoiser{TinyNetwork(), {.image = {1, 4, 5}}};
  const GuidedDenoiser guided(denoiser, 1.5);
  at::Tensor weight = denoiser.network().weight;
  const auto solver_noise = [](std::int64_t step, std::int64_t) {
    return random_tensor<B>({2, 1, 4, 5}, 100 + static_cast<std::uint64_t>(step), float64);
  };
  const auto check = [&](const auto& sampler) {
    const auto sample = [&](const at::Tensor& noise) {
      return sampler.solve(guided, noise, whole, labels, solver_noise);
    };
    const at::Tensor leaf = x.detach().clone().requires_grad_();
    const at::Tensor samples = sample(leaf);
    REQUIRE(samples.requires_grad());
    weight.mutable_grad() = at::Tensor();
    (samples * cotangent).sum().backward();
    CHECK_FALSE(sample(x).requires_grad());
    const double by_noise =
        central_difference([&](double step) { return inner_product<B>(sample(x + step * direction), cotangent); });
    CHECK(inner_product<B>(leaf.grad(), direction) == Approx(by_noise).epsilon(1e-6));
    const at::Tensor change = random_tensor<B>({1, 3, 3, 3}, 7, float64), before = weight.detach().clone();
    const double by_weight = central_difference([&](double step) {
      const at::NoGradGuard no_grad;
      weight.copy_(before + step * change);
      const double value = inner_product<B>(sample(x), cotangent);
      weight.copy_(before);
      return value;
    });
    CHECK(inner_product<B>(weight.grad(), change) == Approx(by_weight).epsilon(1e-6));
    {
      const at::NoGradGuard no_grad;
      CHECK_FALSE(sample(leaf).requires_grad());
    }
  };
  SECTION("Heun") { check(ODESampler({.num_steps = 4})); }
  SECTION("churn") { check(ODESampler({.num_steps = 4}, Churn({.s_churn = 2}))); }
}

TEST_CASE("the misfit of any function that LibTorch differentiates") {
  // The means of 2x2 pixels, whose adjoint spreads a quarter to each.
  const at::Tensor images = random_tensor<B>({2, 1, 4, 6}, 1, float64);
  const at::Tensor measured = random_tensor<B>({2, 1, 2, 3}, 2, float64);
  const auto misfit = autograd_misfit([](const at::Tensor& image) { return at::avg_pool2d(image, 2); }, measured);
  const at::Tensor apart = at::avg_pool2d(images, 2) - measured;
  const at::Tensor expected = apart.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4;
  {
    const at::NoGradGuard no_grad;
    CHECK(at::allclose(misfit(images), expected, 0, 1e-14));
  }
  CHECK_FALSE(misfit(images).requires_grad());
  // And one that is not linear.
  const auto squared = autograd_misfit(
      [](const at::Tensor& image) {
        return image.square().sum({1, 2, 3});
      },
      at::ones({2}, float64.options()));
  const at::Tensor sums = images.square().sum({1, 2, 3}, true);
  CHECK(at::allclose(squared(images), 2 * (sums - 1) * images, 0, 1e-12));
  CHECK_ERROR(ShapeError, "autograd_misfit: measure: expected [2, 1, 2, 3], got [2, 1, 4, 6]",
              autograd_misfit([](const at::Tensor& image) { return image; }, measured)(images));
}

TEST_CASE("samples of a posterior explain the measurement") {
  DenoiserWrapper denoiser{TinyNetwork(), {.image = {1, 4, 6}}};
  const at::Tensor measured = random_tensor<B>({2, 1, 2, 3}, 2, float64) / 2;
  const auto mean = [](const at::Tensor& image) { return at::avg_pool2d(image, 2); };
  const PosteriorDenoiser posterior(denoiser, autograd_misfit(mean, measured), {.deviation = 0.01, .gain = 0.25});
  const ODESampler sampler({.num_steps = 64});
  const SampleRequest<B> request{.seeds = {1, 2}, .conditioning = labels};
  const auto distance = [&](const at::Tensor& samples) {
    return (mean(samples) - measured).abs().max().item<double>();
  };
  CHECK(distance(sampler(denoiser, request)) > 0.3);
  CHECK(distance(sampler(posterior, request)) < 0.1);
}

}  // namespace
}  // namespace patchdiff
