// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/diffusion/inpainting_denoiser.hpp>
#include <patchdiff/diffusion/posterior_denoiser.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/pixel_noise.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

GaussianDenoiser<B> images{.shape = {1, 2, 3}, .mean = 0.3, .deviation = 0.5};
const std::vector<std::uint64_t> seeds{4, 5};
const Places whole = Places::whole({2, 3}, 2);

/// 1 in the left two columns of each image.
const B::Tensor mask = tensor<B>({2, 1, 2, 3}, {1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0});
const B::Tensor measured = random_tensor<B>({2, 1, 2, 3}, 1);

static_assert(Denoiser<InpaintingDenoiser<GaussianDenoiser<B>>> && Denoiser<PosteriorDenoiser<GaussianDenoiser<B>>>);

TEST_CASE("inpainting keeps the known part and draws the rest, as any solver would alone") {
  const InpaintingDenoiser inpainting(images, measured, mask);
  CHECK((inpainting.image() == images.shape && inpainting.label_dim() == 0));
  const auto check = [&](const auto& sampler) {
    const B::Tensor filled = sampler(inpainting, {.seeds = seeds}), alone = sampler(images, {.seeds = seeds});
    for (std::size_t i = 0; i < filled.values.size(); ++i) {
      // Independent pixels: what is known tells nothing about the rest.
      CHECK(filled.values[i] == Approx(mask.values[i] == 1 ? measured.values[i] : alone.values[i]).epsilon(1e-12));
    }
  };
  check(ODESampler{});
  check(ODESampler({.num_steps = 6}, Churn({.s_churn = 3})));
  // On the way, the known part has the noise of its level.
  ODESampler({.num_steps = 6})(inpainting, {.seeds = seeds}, [&](const SamplingProgress<B>& progress) {
    const B::Tensor noise = pixel_noise<B>(seeds, Purpose::initial_noise, 0, 0, images.shape, {0, 0, 2, 3}, {});
    const double share = progress.level.sigma / 80;
    const double expected = measured.values[0] + share * (80 * noise.values[0] - measured.values[0]);
    CHECK(progress.x.values[0] == Approx(expected).epsilon(1e-9));
    return Flow::proceed;
  });
}

/// The gradient of |mask (x - measured)|^2 / 2.
B::Tensor of_mask(const B::Tensor& x) { return B::multiply(linear<B>(1, x, -1, measured), mask); }

TEST_CASE("posterior sampling of masked Gaussian images is exact: estimates, and where the samples land") {
  constexpr double noise = 0.2;
  const PosteriorDenoiser posterior(images, of_mask, {.deviation = noise, .sigma_data = 0.5});
  const std::vector<double> sigma{0.3, 4};
  const B::Tensor x = random_tensor<B>({2, 1, 2, 3}, 2);
  const B::Tensor estimate = posterior(x, sigma, whole, {});
  const B::Tensor unit = pixel_noise<B>(seeds, Purpose::initial_noise, 0, 0, images.shape, {0, 0, 2, 3}, {});
  const B::Tensor samples = ODESampler({.num_steps = 256})(posterior, {.seeds = seeds});
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    const double known = mask.values[i] / (noise * noise), level = sigma[i / 6];
    const double precision = 1 / (level * level) + 1 / 0.25 + known;
    const double mean = (x.values[i] / (level * level) + 0.3 / 0.25 + measured.values[i] * known) / precision;
    CHECK(estimate.values[i] == Approx(mean).epsilon(1e-12));
    const GaussianDenoiser<B> pixel{.mean = (0.3 / 0.25 + measured.values[i] * known) / (1 / 0.25 + known),
                                    .deviation = 1 / std::sqrt(1 / 0.25 + known)};
    CHECK(samples.values[i] == Approx(pixel.solution(80 * unit.values[i], 80, 0)).margin(1e-3));
  }
}

TEST_CASE("posterior sampling from means of pixels is exact, too") {
  // y is the mean of all six pixels, without noise: A^T of it gives each pixel a sixth, and A A^T = 1/6.
  constexpr double y = 0.9;
  const auto of_mean = [](const B::Tensor& x) {
    B::Tensor slope = B::clone(x);
    for (std::size_t n = 0; n < 2; ++n) {
      double mean = 0;
      for (std::size_t i = 6 * n; i < 6 * n + 6; ++i) mean += x.values[i] / 6;
      for (std::size_t i = 6 * n; i < 6 * n + 6; ++i) slope.values[i] = (mean - y) / 6;
    }
    return slope;
  };
  const PosteriorDenoiser posterior(images, of_mean, {.sigma_data = 0.5, .gain = 1.0 / 6});
  CHECK(posterior.variance(2) == Approx(4 * 0.25 / 4.25 / 6));
  const std::vector<double> sigma{0.3, 4};
  const B::Tensor x = random_tensor<B>({2, 1, 2, 3}, 2), prior = images(x, sigma, whole, {});
  const B::Tensor estimate = posterior(x, sigma, whole, {});
  for (std::size_t n = 0; n < 2; ++n) {
    double mean = 0;
    for (std::size_t i = 6 * n; i < 6 * n + 6; ++i) mean += prior.values[i] / 6;
    // Given their mean, independent pixels of one variance all move by what it lacks.
    for (std::size_t i = 6 * n; i < 6 * n + 6; ++i) {
      CHECK(estimate.values[i] == Approx(prior.values[i] + y - mean).epsilon(1e-12));
    }
  }
}

TEST_CASE("the pull of a measurement goes through network and guidance, and leaves the weights' gradients alone") {
  DenoiserWrapper network{host::PixelwiseNetwork<B>({.in_channels = 3, .out_channels = 1, .label_dim = 1}, {1}),
                          {.image = {1, 2, 3}}};
  GuidedDenoiser guided(network, 1.7);
  const Conditioning<B> labels{.class_labels = random_tensor<B>({2, 1}, 3)};
  const std::vector<double> sigma{0.3, 4};
  const B::Tensor x = random_tensor<B>({2, 1, 2, 3}, 2), direction = random_tensor<B>({2, 1, 2, 3}, 5);
  const auto check = [&](auto& inner) {
    const PosteriorDenoiser posterior(inner, of_mask, {.deviation = 0.1});
    const B::Tensor pull = linear<B>(1, posterior(x, sigma, whole, labels), -1, inner(x, sigma, whole, labels));
    const std::vector<double> back{-posterior.variance(0.3) / 0.09, -posterior.variance(4) / 16};
    const double slope = central_difference([&](double step) {
      const B::Tensor apart = of_mask(inner(linear<B>(1, x, step, direction), sigma, whole, labels));
      return inner_product<B>(apart, apart) / 2;
    });
    CHECK(inner_product<B>(B::scale(back, pull), direction) == Approx(slope).epsilon(1e-6));
  };
  check(network);
  check(guided);
  network.visit_parameters([](auto, B::Tensor&, B::Tensor& gradient) {
    for (const double value : gradient.values) CHECK(value == 0);
  });
}

TEST_CASE("inverse problems refuse what does not fit") {
  CHECK_ERROR(ShapeError, "InpaintingDenoiser: known: expected [N, 1, h, w], got [2, 3, 2, 3]",
              InpaintingDenoiser(images, B::zeros({2, 3, 2, 3}, {}), mask));
  CHECK_THROWS_AS(InpaintingDenoiser(images, measured, B::zeros({1, 1, 2, 3}, {})), ShapeError);
  const InpaintingDenoiser inpainting(images, measured, mask);
  CHECK_ERROR(ShapeError, "InpaintingDenoiser: x: expected [2, 1, 2, 3], got [1, 1, 2, 3]",
              ODESampler{}(inpainting, {.seeds = {1}}));
  const auto sized = [](const B::Tensor&) { return B::zeros({2, 1}, {}); };
  CHECK_ERROR(ShapeError, "PosteriorDenoiser: misfit_gradient: expected [2, 1, 2, 3], got [2, 1]",
              ODESampler{}(PosteriorDenoiser(images, sized), {.seeds = seeds}));
  CHECK_ERROR(ConfigError, "PosteriorDenoiser: deviation: expected a finite value >= 0, got -1",
              PosteriorDenoiser(images, of_mask, {.deviation = -1}));
  CHECK_ERROR(ConfigError, "PosteriorDenoiser: sigma_data: expected a finite value > 0, got 0",
              PosteriorDenoiser(images, of_mask, {.sigma_data = 0}));
  CHECK_ERROR(ConfigError, "PosteriorDenoiser: gain: expected a finite value > 0, got nan",
              PosteriorDenoiser(images, of_mask, {.gain = std::nan("")}));
}

}  // namespace
}  // namespace patchdiff
