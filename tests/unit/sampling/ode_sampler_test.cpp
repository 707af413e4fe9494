// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/sampling/edm_sigmas.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/pixel_noise.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/pixelwise_network.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"
#include "support/vector_backend.hpp"

namespace patchdiff {
namespace {

using B = VectorBackend<double>;
using Progress = SamplingProgress<B>;

const GaussianDenoiser<B> gaussian{.shape = {1, 1, 1}, .mean = 0.3, .deviation = 0.5};

/// The state of one pixel just before the last step, from x = 7 at sigma 10.
template <class Solver>
double end_of_steps(std::int64_t steps) {
  const ODESampler<Solver> sampler({.num_steps = steps, .sigma_min = 0.02, .sigma_max = 10});
  const auto no_churn = [](std::int64_t) -> B::Tensor { throw std::logic_error("there is no churn"); };
  double end = 0;
  sampler.solve(gaussian, tensor<B>({1, 1, 1, 1}, {0.7}), Places::whole({1, 1}, 1), {}, no_churn,
                [&](const Progress& progress) {
                  end = progress.x.values[0];
                  return progress.step + 1 < steps ? Flow::proceed : Flow::stop;
                });
  return end;
}

/// The order of convergence between N and 2 N steps.
template <class Solver>
double order_at(std::int64_t steps) {
  const double exact = gaussian.solution(7, 10, 0.02);
  const double coarse = std::abs(end_of_steps<Solver>(steps + 1) - exact);
  const double fine = std::abs(end_of_steps<Solver>(2 * steps + 1) - exact);
  return std::log2(coarse / fine);
}

TEST_CASE("Euler converges with order 1 and Heun with order 2 on the closed-form path") {
  for (const std::int64_t steps : {64, 128, 256}) {
    CAPTURE(steps);
    CHECK(order_at<Euler>(steps) == Approx(1).margin(0.05));
    CHECK(order_at<Heun>(steps) == Approx(2).margin(0.05));
  }
  CHECK(end_of_steps<Heun>(257) == Approx(gaussian.solution(7, 10, 0.02)).epsilon(2e-4));
}

TEST_CASE("EDM's noise levels") {
  const std::vector<double> sigmas = edm_sigmas(18, 0.002, 80, 7);
  REQUIRE(sigmas.size() == 19);
  for (const auto& [step, sigma] :
       {std::pair{0, 80.0}, std::pair{1, 57.58598}, std::pair{2, 40.78557}, std::pair{8, 3.256822},
        std::pair{15, 0.02293452}, std::pair{16, 0.00752802}, std::pair{17, 0.002}}) {
    CHECK(sigmas[static_cast<std::size_t>(step)] == Approx(sigma).epsilon(1e-6));
  }
  CHECK(sigmas[18] == 0);
  CHECK(edm_sigmas(2, 0.5, 2, 1) == std::vector<double>{2, 0.5, 0});
  const std::vector<double> one = edm_sigmas(1, 0.002, 80, 7);
  CHECK((one.size() == 2 && one[0] == Approx(80).epsilon(1e-12) && one[1] == 0));
}

TEST_CASE("calls of the denoiser: 2 N - 1 under Heun, N under Euler") {
  const auto nfe = [](const auto& sampler, std::int64_t steps) {
    std::vector<std::int64_t> at_step, calls;
    sampler(gaussian, {.seeds = {1}}, [&](const Progress& progress) {
      CHECK(progress.num_steps == steps);
      at_step.push_back(progress.step);
      calls.push_back(progress.nfe);
      return Flow::proceed;
    });
    CHECK(at_step.size() == static_cast<std::size_t>(steps));
    CHECK((at_step.front() == 1 && at_step.back() == steps));
    return calls.back();
  };
  for (const std::int64_t steps : {1, 2, 5, 18}) {
    CHECK(nfe(ODESampler<Heun>({.num_steps = steps}), steps) == 2 * steps - 1);
    CHECK(nfe(ODESampler<Euler>({.num_steps = steps}), steps) == steps);
  }
}

TEST_CASE("one step is the denoised image of pure noise") {
  const B::Tensor noise =
      pixel_noise<B>(std::vector<std::uint64_t>{3}, Purpose::initial_noise, 0, {1, 1, 1}, {0, 0, 1, 1}, {});
  const double x = 80 * noise.values[0];
  const B::Tensor sample = ODESampler{{.num_steps = 1}}(gaussian, {.seeds = {3}});
  CHECK(sample.values[0] == Approx((0.25 * x + 6400 * 0.3) / 6400.25).epsilon(1e-12));
}

TEST_CASE("the samples of Gaussian data are where the closed form puts them") {
  const GaussianDenoiser<B> images{.shape = {3, 5, 4}, .mean = 0.3, .deviation = 0.5};
  const std::vector<std::uint64_t> seeds = seed_range(10, 4);
  CHECK(seeds == std::vector<std::uint64_t>{10, 11, 12, 13});
  const B::Tensor noise = pixel_noise<B>(seeds, Purpose::initial_noise, 0, images.shape, {0, 0, 5, 4}, {});
  const B::Tensor samples = ODESampler{{.num_steps = 256}}(images, {.seeds = seeds});
  REQUIRE(samples.shape == Shape{4, 3, 5, 4});
  for (std::size_t i = 0; i < samples.values.size(); ++i) {
    CHECK(samples.values[i] == Approx(images.solution(80 * noise.values[i], 80, 0)).margin(5e-4));
  }
}

// False-alarm rate: 5.7e-7 for each mean and each variance.
TEST_CASE("churn adds the noise that it should: mean and variance of the end of the run") {
  const GaussianDenoiser<B> images{.shape = {1, 64, 64}, .mean = 0.3, .deviation = 0.5};
  const std::vector<double> sigmas = edm_sigmas(64, 0.002, 80, 7);
  const auto slope = [](double level) { return level / (0.25 + level * level); };
  for (const double s_noise : {1.0, 1.2}) {
    const ODESampler sampler({.num_steps = 64, .s_churn = 20, .s_tmin = 0.05, .s_tmax = 50, .s_noise = s_noise});
    const B::Tensor samples = sampler(images, {.seeds = seed_range(0, 8)});
    // For Gaussian data each step is linear: x - m -> gain (x - m + added z).
    double variance = 80 * 80, offset = -0.3;
    for (std::size_t step = 0; step < 64; ++step) {
      double sigma = sigmas[step];
      const double next = sigmas[step + 1];
      if (sigma >= 0.05 && sigma <= 50) {
        const double raised = sigma * (1 + 20.0 / 64);
        variance += s_noise * s_noise * (raised * raised - sigma * sigma);
        sigma = raised;
      }
      const double euler = 1 + (next - sigma) * slope(sigma);
      const double gain = next > 0 ? 1 + (next - sigma) * (slope(sigma) + slope(next) * euler) / 2 : euler;
      variance *= gain * gain;
      offset *= gain;
    }
    if (s_noise == 1) CHECK(variance == Approx(0.25).epsilon(0.05));
    std::vector<double> squares;
    for (const double value : samples.values) squares.push_back((value - 0.3 - offset) * (value - 0.3 - offset));
    CHECK(z_of_mean(samples.values, 0.3 + offset, std::sqrt(variance)) < largest_z);
    CHECK(z_of_mean(squares, variance, variance * std::numbers::sqrt2) < largest_z);
  }
}

TEST_CASE("churn raises the noise level between s_tmin and s_tmax, by a factor of at most sqrt 2") {
  const std::vector<double> sigmas = edm_sigmas(18, 0.002, 80, 7);
  const auto run = [&](double s_churn) {
    std::vector<std::int64_t> churned;
    std::vector<double> levels;
    const ODESampler sampler({.s_churn = s_churn, .s_tmin = 0.1, .s_tmax = 10});
    sampler.solve(
        gaussian, tensor<B>({1, 1, 1, 1}, {0.7}), Places::whole({1, 1}, 1), {},
        [&](std::int64_t step) {
          churned.push_back(step);
          return filled<B>({1, 1, 1, 1}, 0.5);
        },
        [&](const Progress& progress) {
          levels.push_back(progress.sigma);
          return Flow::proceed;
        });
    for (std::size_t step = 0; step < 18; ++step) {
      const bool inside = sigmas[step] >= 0.1 && sigmas[step] <= 10;
      const double raised = 1 + std::min(s_churn / 18, std::numbers::sqrt2 - 1);
      CHECK(levels[step] == Approx(sigmas[step] * (inside ? raised : 1)).epsilon(1e-14));
    }
    return churned;
  };
  CHECK(run(0).empty());
  CHECK(run(1) == std::vector<std::int64_t>{6, 7, 8, 9, 10, 11, 12, 13});
  CHECK(run(1000) == run(1));
}

TEST_CASE("a callback sees each step and can stop the run") {
  const GaussianDenoiser<B> images{.shape = {1, 2, 2}};
  const ODESampler sampler({.num_steps = 6});
  std::vector<double> levels;
  B::Tensor at_three;
  const auto watch = [&](std::int64_t last) {
    return [&, last](const Progress& progress) {
      levels.push_back(progress.sigma);
      const double variance = 0.25 + progress.sigma * progress.sigma;
      CHECK(progress.denoised.shape == Shape{1, 1, 2, 2});
      if (progress.step == 1) {
        const B::Tensor noise =
            pixel_noise<B>(std::vector<std::uint64_t>{4}, Purpose::initial_noise, 0, {1, 2, 2}, {0, 0, 2, 2}, {});
        CHECK(progress.denoised.values[3] == Approx(0.25 * progress.sigma * noise.values[3] / variance));
      }
      if (progress.step == 3) at_three = progress.x;
      return progress.step == last ? Flow::stop : Flow::proceed;
    };
  };
  const B::Tensor whole = sampler(images, {.seeds = {4}}, watch(99));
  CHECK(whole.values == sampler(images, {.seeds = {4}}).values);
  std::vector<double> expected = edm_sigmas(6, 0.002, 80, 7);
  expected.pop_back();
  CHECK(levels == expected);
  levels.clear();
  CHECK(sampler(images, {.seeds = {4}}, watch(3)).values == at_three.values);
  CHECK(levels.size() == 3);
}

/// A model whose estimate depends on sigma, coordinates and labels.
DenoiserWrapper<PixelwiseNetwork<VectorBackend<float>>> model() {
  using F = VectorBackend<float>;
  return {PixelwiseNetwork<F>({.in_channels = 4, .out_channels = 2, .label_dim = 3}, {1}), {.image = {2, 6, 7}}};
}

TEST_CASE("a seed's sample does not depend on the seeds beside it") {
  using F = VectorBackend<float>;
  const auto denoiser = model();
  const ODESampler sampler({.num_steps = 4, .s_churn = 2});
  const F::Tensor labels = random_tensor<F>({3, 3}, 2);
  const std::vector<std::uint64_t> seeds{5, 900, 5};
  const auto samples = sampler(denoiser, {.seeds = seeds, .conditioning = {.class_labels = labels}});
  static_assert(std::is_same_v<decltype(samples), const B::Tensor>, "the state is in float64");
  for (std::int64_t n = 0; n < 3; ++n) {
    const auto alone = sampler(denoiser, {.seeds = {seeds[static_cast<std::size_t>(n)]},
                                          .conditioning = {.class_labels = F::slice(labels, 0, n, 1)}});
    CHECK(alone.values == B::slice(samples, 0, n, 1).values);
  }
  CHECK(B::slice(samples, 0, 0, 1).values != B::slice(samples, 0, 1, 1).values);
}

TEST_CASE("a window is drawn as that part of the whole image") {
  using F = VectorBackend<float>;
  const auto denoiser = model();
  const ODESampler sampler({.num_steps = 4, .s_churn = 2});
  const Conditioning<F> labels{.class_labels = random_tensor<F>({2, 3}, 2)};
  const B::Tensor whole = sampler(denoiser, {.seeds = {1, 2}, .conditioning = labels});
  for (const Window window : {Window{0, 0, 6, 7}, Window{2, 1, 3, 4}, Window{5, 6, 1, 1}}) {
    const B::Tensor part = sampler(denoiser, {.seeds = {1, 2}, .conditioning = labels, .window = window});
    CHECK(part.values == B::crop(whole, Places::repeated(window.size(), Place::at(window.top, window.left), 2)).values);
  }
}

TEST_CASE("pixel noise is indexed by the pixel's place in the full image") {
  const ImageShape image{2, 5, 6};
  const Window window{1, 2, 3, 4};
  const B::Tensor noise = pixel_noise<B>(std::vector<std::uint64_t>{8, 9}, Purpose::churn_noise, 7, image, window, {});
  CHECK(noise.shape == Shape{2, 2, 3, 4});
  std::vector<double> expected(2 * 5 * 6);
  RandomStream({9}, Purpose::churn_noise, 7, 0).normals(std::span(expected));
  CHECK(B::slice(noise, 0, 1, 1).values ==
        B::crop(tensor<B>({1, 2, 5, 6}, expected), Places{{3, 4}, {Place::at(1, 2)}}).values);
}

TEST_CASE("ODESampler refuses settings that cannot work") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto make = [](ODESamplerOptions options) { return ODESampler<Heun>(options); };
  CHECK_ERROR(ConfigError, "ODESampler: num_steps: expected at least 1, got 0", make({.num_steps = 0}));
  CHECK_ERROR(ConfigError, "ODESampler: sigma_min: expected a value > 0, got 0", make({.sigma_min = 0}));
  CHECK_ERROR(ConfigError, "ODESampler: sigma_min: expected a value > 0, got nan", make({.sigma_min = nan}));
  CHECK_ERROR(ConfigError, "ODESampler: sigma_max: expected a finite value > sigma_min = 0.002, got 0.002",
              make({.sigma_max = 0.002}));
  CHECK_ERROR(ConfigError, "ODESampler: sigma_max: expected a finite value > sigma_min = 0.002, got inf",
              make({.sigma_max = infinity}));
  CHECK_ERROR(ConfigError, "ODESampler: rho: expected a finite value > 0, got 0", make({.rho = 0}));
  CHECK_ERROR(ConfigError, "ODESampler: rho: expected a finite value > 0, got inf", make({.rho = infinity}));
  CHECK_ERROR(ConfigError, "ODESampler: s_churn: expected a value >= 0, got -1", make({.s_churn = -1}));
  CHECK_ERROR(ConfigError, "ODESampler: s_churn: expected a value >= 0, got nan", make({.s_churn = nan}));
  CHECK_ERROR(ConfigError, "ODESampler: s_noise: expected a finite value >= 0, got -0.5", make({.s_noise = -0.5}));
  CHECK_ERROR(ConfigError, "ODESampler: s_noise: expected a finite value >= 0, got inf", make({.s_noise = infinity}));
}

TEST_CASE("ODESampler refuses requests that do not fit the model") {
  const GaussianDenoiser<B> images{.shape = {1, 6, 7}};
  const ODESampler sampler;
  CHECK_ERROR(ShapeError, "ODESampler: seeds: expected at least one seed, got none", sampler(images, {}));
  for (const Window window : {Window{-1, 0, 2, 2}, Window{0, -1, 2, 2}, Window{5, 0, 2, 2}, Window{0, 6, 2, 2},
                              Window{0, 0, 0, 2}, Window{0, 0, 2, 0}}) {
    CHECK_ERROR(ShapeError,
                fmt::format("ODESampler: window: expected a window inside 6x7, got {}x{} at top {}, left {}",
                            window.height, window.width, window.top, window.left),
                sampler(images, {.seeds = {1}, .window = window}));
  }
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [2, 3], got none",
              sampler(model(), {.seeds = {1, 2}}));
}

}  // namespace
}  // namespace patchdiff
