// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>
#include <patchdiff/sampling/ancestral_euler.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/dpm_solver_pp_2m.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/euler_maruyama.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/predictor_corrector.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/affine_sampler.hpp"
#include "support/catch.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/mixture_denoiser.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// A sampler of `num_steps` steps in a formulation's own schedule and process.
template <class S>
ODESampler<S> sampler_of(const Formulation& formulation, std::int64_t num_steps, S solver) {
  return ODESampler<S>(
      {.num_steps = num_steps, .schedule = formulation.sigma_schedule(), .process = formulation.process()},
      std::move(solver));
}

/// Draws 4096 pairs and holds them against the law that the solver should draw from at this number of steps.
template <class S>
void check_statistics(const S& solver) {
  for (const Formulation& formulation :
       {Formulation(EDM{}), Formulation(VP{}), Formulation(VE{}), Formulation(SubVP{}), Formulation(IDDPM{})}) {
    CAPTURE(formulation.name());
    const ODESampler<S> sampler = sampler_of(formulation, 24, solver);
    const NormalPair law = law_of(sampler);
    const B::Tensor samples = sampler(CorrelatedDenoiser{}, {.seeds = seed_range(0, 4096)});
    std::vector<double> first, second, first_squared, second_squared, product;
    for (std::size_t n = 0; n < 4096; ++n) {
      const double a = samples.values[2 * n] - law.mean[0], b = samples.values[2 * n + 1] - law.mean[1];
      first.push_back(a);
      second.push_back(b);
      first_squared.push_back(a * a);
      second_squared.push_back(b * b);
      product.push_back(a * b);
    }
    const double spread_of_product = std::sqrt(law.variance0 * law.variance1 + law.covariance * law.covariance);
    CHECK(z_of_mean(first, 0, std::sqrt(law.variance0)) < largest_z);
    CHECK(z_of_mean(second, 0, std::sqrt(law.variance1)) < largest_z);
    CHECK(z_of_mean(first_squared, law.variance0, law.variance0 * std::numbers::sqrt2) < largest_z);
    CHECK(z_of_mean(second_squared, law.variance1, law.variance1 * std::numbers::sqrt2) < largest_z);
    CHECK(z_of_mean(product, law.covariance, spread_of_product) < largest_z);
  }
}

// False-alarm rate: 5.7e-7 for each mean, variance and covariance.
TEST_CASE("what stochastic solvers draw has the law of their steps, under every formulation") {
  SECTION("ancestral Euler") { check_statistics(AncestralEuler{}); }
  SECTION("DPM-Solver++(2M) SDE") { check_statistics(DPMSolverPP2M(1)); }
  SECTION("churn") { check_statistics(Churn({.s_churn = 10, .s_tmin = 0.05, .s_tmax = 50, .s_noise = 1.2})); }
  SECTION("Euler-Maruyama") { check_statistics(EulerMaruyama{}); }
}

// False-alarm rate: 5.7e-7 for each mean, each variance and each covariance of neighbours.
TEST_CASE("predictor and corrector keep to the law of Gaussian data") {
  const GaussianDenoiser<B> images{.shape = {1, 64, 64}, .mean = 0.3, .deviation = 0.5};
  for (const Formulation& formulation :
       {Formulation(EDM{}), Formulation(VP{}), Formulation(VE{}), Formulation(SubVP{}), Formulation(IDDPM{})}) {
    CAPTURE(formulation.name());
    constexpr double r = 0.2;
    const auto sampler = sampler_of(formulation, 48, PredictorCorrector({.signal_to_noise = r, .num_corrections = 2}));
    // The law of y - m for unscaled y: each predictor step is affine; each correction has the size that its mean
    // squared norms give, which vary by 3 % between images of 4096 pixels.
    const NoiseProcess process = formulation.process();
    const std::vector<double> sigmas = formulation.sigma_schedule()(48);
    double offset = -0.3, variance = sigmas[0] * sigmas[0];
    for (std::size_t step = 0; step < 48; ++step) {
      const NoiseMoment at = process.at(process.time(sigmas[step]));
      const double end = step < 47 ? process.time(sigmas[step + 1]) : 0;
      const double length = process.time(sigmas[step]) - end, sigma = sigmas[step];
      const NoiseLevel next = process.at(end).level;
      // x' = x - (f x - g^2 score) dt with score = -(x - s m) / (s^2 (S^2 + sigma^2)).
      const double s = at.level.scale, pull = at.diffusion() * at.diffusion() / (s * s * (0.25 + sigma * sigma));
      const double gain = (1 - length * at.drift() - length * pull) * s / next.scale;
      const double kept_mean = (s * (1 - length * at.drift()) / next.scale - 1) * 0.3;
      offset = gain * offset + kept_mean;
      variance *= gain * gain;
      if (step == 47) break;
      variance += at.diffusion() * at.diffusion() * length / (next.scale * next.scale);
      const double total = 0.25 + next.sigma * next.sigma, shrinking = s / next.scale;
      for (int correction = 0; correction < 2; ++correction) {
        const double size = 2 * shrinking * shrinking * r * r * total * total / (variance + offset * offset);
        offset *= 1 - size / total;
        variance = variance * (1 - size / total) * (1 - size / total) + 2 * size;
      }
    }
    const B::Tensor samples = sampler(images, {.seeds = seed_range(0, 4)});
    std::vector<double> squares;
    for (const double value : samples.values) squares.push_back((value - 0.3 - offset) * (value - 0.3 - offset));
    CHECK(z_of_mean(B::to_host(samples), 0.3 + offset, std::sqrt(variance)) < largest_z);
    CHECK(z_of_mean(squares, variance, variance * std::numbers::sqrt2) < largest_z);
    std::vector<double> products;  // of pixels side by side, each in one product
    for (std::size_t pixel = 0; pixel < samples.values.size(); pixel += 2) {
      products.push_back((samples.values[pixel] - 0.3 - offset) * (samples.values[pixel + 1] - 0.3 - offset));
    }
    CHECK(z_of_mean(products, 0, variance) < largest_z);
    CHECK(std::abs(offset) < 0.05);
    CHECK(variance == Approx(0.25).epsilon(0.25));
  }
}

// False-alarm rate: 5.7e-7 for each solver.
TEST_CASE("samples of a mixture lie on its modes, with its weights") {
  const auto check = [](const auto& solver, std::int64_t steps) {
    const B::Tensor samples =
        sampler_of(EDM{}, steps, solver)(MixtureDenoiser{.shape = {1, 64, 64}}, {.seeds = {1, 2}});
    std::vector<double> is_high;
    double outside = 0, spread = 0;
    for (const double value : samples.values) {
      const double from_mode = std::abs(value) - 1;
      is_high.push_back(value > 0 ? 1 : 0);
      outside += std::abs(from_mode) > 0.3 ? 1 : 0;
      spread += from_mode * from_mode;
    }
    const auto count = static_cast<double>(samples.values.size());
    CHECK(z_of_mean(is_high, 0.3, std::sqrt(0.3 * 0.7)) < largest_z);
    CHECK(outside / count < 0.005);
    CHECK(std::sqrt(spread / count) == Approx(0.05).margin(0.02));
  };
  SECTION("Heun") { check(Heun{}, 64); }
  SECTION("DPM-Solver++(2M)") { check(DPMSolverPP2M{}, 64); }
  SECTION("DPM-Solver++(2M) SDE") { check(DPMSolverPP2M(1), 64); }
  SECTION("ancestral Euler") { check(AncestralEuler{}, 128); }
  SECTION("churn") { check(Churn({.s_churn = 20}), 64); }
  SECTION("Euler-Maruyama") { check(EulerMaruyama{}, 256); }
  SECTION("predictor and corrector") { check(PredictorCorrector{}, 256); }
}

TEST_CASE("a seed's sample does not depend on the batch, nor its window's pixels on the rest") {
  using F = host::SpanBackend<float>;
  const DenoiserWrapper denoiser{host::PixelwiseNetwork<F>({.in_channels = 4, .out_channels = 2}, {1}),
                                 {.image = {2, 6, 7}}};
  const auto check = [&](const auto& solver, bool windows) {
    const ODESampler sampler({.num_steps = 4}, solver);
    const B::Tensor both = sampler(denoiser, {.seeds = {5, 900}});
    for (const std::int64_t n : {0, 1}) {
      const B::Tensor alone = sampler(denoiser, {.seeds = {n == 0 ? 5U : 900U}});
      CHECK(B::to_host(alone) == B::to_host(B::slice(both, 0, n, 1)));
    }
    if (!windows) return;
    const Window window{2, 1, 3, 4};
    const B::Tensor part = sampler(denoiser, {.seeds = {5, 900}, .window = window});
    CHECK(B::to_host(part) ==
          B::to_host(B::crop(both, Places::repeated(window.size(), Place::at(window.top, window.left), 2))));
  };
  SECTION("ancestral Euler") { check(AncestralEuler{}, true); }
  SECTION("DPM-Solver++(2M) SDE") { check(DPMSolverPP2M(1), true); }
  SECTION("churn") { check(Churn({.s_churn = 2}), true); }
  SECTION("Euler-Maruyama") { check(EulerMaruyama{}, true); }
  SECTION("predictor and corrector: its norms are a window's own") {
    check(PredictorCorrector({.num_corrections = 2}), false);
  }
}

TEST_CASE("each draw of a step has noise of its own") {
  // Two corrections with the same noise would double its amplitude instead of its variance.
  std::vector<std::pair<std::int64_t, std::int64_t>> draws;
  const GaussianDenoiser<B> image{.shape = {1, 1, 1}};
  ODESampler({.num_steps = 3}, PredictorCorrector({.num_corrections = 2}))
      .solve(image, filled<B>({1, 1, 1, 1}, 0.5), Places::whole({1, 1}, 1), {},
             [&](std::int64_t step, std::int64_t draw) {
               draws.emplace_back(step, draw);
               return filled<B>({1, 1, 1, 1}, 0.5);
             });
  CHECK(draws == std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}});
}

/// Gives the scaled state and the estimate of the first of two steps from unit noise (0.7, -0.2), with noise (0.5, 0.9)
/// in each draw.
template <class S>
void after_first_step(const NoiseProcess& process, const S& solver, B::Tensor& x, B::Tensor& denoised) {
  const GaussianDenoiser<B> images{.shape = {1, 1, 2}, .mean = 0.3, .deviation = 0.5};
  ODESampler<S>({.num_steps = 2, .schedule = SigmaSchedule::list({3, 2}), .process = process}, solver)
      .solve(
          images, tensor<B>({1, 1, 1, 2}, {0.7, -0.2}), Places::whole({1, 2}, 1), {},
          [](std::int64_t, std::int64_t) {
            return tensor<B>({1, 1, 1, 2}, {0.5, 0.9});
          },
          [&](const SamplingProgress<B>& progress) {
            x = progress.x;
            denoised = progress.denoised;
            return Flow::stop;
          });
}

TEST_CASE("the corrector's step by hand: its size follows from the norms of noise and score") {
  for (const NoiseProcess& process : {EDM{}.process(), VP{}.process()}) {
    B::Tensor predicted, corrected, denoised;
    after_first_step(process, EulerMaruyama{}, predicted, denoised);
    after_first_step(process, PredictorCorrector({.signal_to_noise = 0.3}), corrected, denoised);
    const NoiseLevel from = process.at(process.time(3)).level, to = process.at(process.time(2)).level;
    const double variance = to.scale * to.scale * (0.25 + to.sigma * to.sigma);
    std::vector<double> score;
    for (const double x : predicted.values) score.push_back((to.scale * 0.3 - x) / variance);
    const double ratio = std::hypot(0.5, 0.9) / std::hypot(score[0], score[1]);
    const double a = from.scale * from.scale / (to.scale * to.scale), size = 2 * a * 0.3 * 0.3 * ratio * ratio;
    for (const std::size_t i : {0U, 1U}) {
      const double noise = i == 0 ? 0.5 : 0.9;
      const double expected = predicted.values[i] + size * score[i] + std::sqrt(2 * size) * noise;
      CHECK(corrected.values[i] == Approx(expected).epsilon(1e-9));
    }
  }
}

TEST_CASE("churn by hand: scaled noise up to the raised level, with a deviation times s_noise") {
  for (const NoiseProcess& process : {EDM{}.process(), VP{}.process()}) {
    B::Tensor x, denoised;
    after_first_step(process, Churn({.s_churn = 0.5, .s_noise = 1.2}, Euler{}), x, denoised);
    const double raised = 3 * 1.25, added = 1.2 * std::sqrt(raised * raised - 9);
    const double y = 3 * 0.7 + added * 0.5;
    CHECK(denoised.values[0] == Approx((0.25 * y + raised * raised * 0.3) / (0.25 + raised * raised)).epsilon(1e-9));
  }
}

TEST_CASE("churn raises the noise level between s_tmin and s_tmax, by a factor of at most sqrt 2") {
  const GaussianDenoiser<B> image{.shape = {1, 1, 1}};
  for (const Formulation& formulation : {Formulation(EDM{}), Formulation(VP{})}) {
    const std::vector<double> sigmas = formulation.sigma_schedule()(18);
    const auto run = [&](double s_churn) {
      std::vector<std::int64_t> churned, expected;
      std::vector<double> levels;
      sampler_of(formulation, 18, Churn({.s_churn = s_churn, .s_tmin = 0.1, .s_tmax = 10}))
          .solve(
              image, filled<B>({1, 1, 1, 1}, 0.7), Places::whole({1, 1}, 1), {},
              [&](std::int64_t step, std::int64_t) {
                churned.push_back(step);
                return filled<B>({1, 1, 1, 1}, 0.5);
              },
              [&](const SamplingProgress<B>& progress) {
                levels.push_back(progress.sigma);
                return Flow::proceed;
              });
      for (std::size_t step = 0; step < 18; ++step) {
        const bool inside = sigmas[step] >= 0.1 && sigmas[step] <= 10;
        const double raised = 1 + std::min(s_churn / 18, std::numbers::sqrt2 - 1);
        CHECK(levels[step] == Approx(sigmas[step] * (inside ? raised : 1)).epsilon(1e-9));
        if (inside && s_churn > 0) expected.push_back(static_cast<std::int64_t>(step));
      }
      CHECK(churned == expected);
    };
    run(0);
    run(1);
    run(1000);
  }
}

TEST_CASE("DPM-Solver++(2M) under churn extrapolates from estimates of higher noise alone") {
  const GaussianDenoiser<B> image{.shape = {1, 1, 1}, .mean = 0.3};
  const auto clean = [](double x, double sigma) { return (0.25 * x + sigma * sigma * 0.3) / (0.25 + sigma * sigma); };
  // The second of the steps 10, 8, 1 is raised to below, to just, and to above the level of the first.
  for (const double gamma : {0.1, 0.25, 0.4}) {
    CAPTURE(gamma);
    double end = 0;
    ODESampler({.num_steps = 3, .schedule = SigmaSchedule::list({10, 8, 1})},
               Churn({.s_churn = 3 * gamma, .s_tmin = 2, .s_tmax = 9}, DPMSolverPP2M{}))
        .solve(
            image, filled<B>({1, 1, 1, 1}, 0.7), Places::whole({1, 1}, 1), {},
            [](std::int64_t, std::int64_t) {
              return filled<B>({1, 1, 1, 1}, 0.5);
            },
            [&](const SamplingProgress<B>& progress) {
              end = progress.x.values[0];
              return progress.step < 2 ? Flow::proceed : Flow::stop;
            });
    const double first = clean(7, 10), after_first = 0.8 * 7 + 0.2 * first;
    const double raised = 8 * (1 + gamma), x = after_first + 0.5 * std::sqrt(raised * raised - 64);
    double second = clean(x, raised);
    if (gamma == 0.1) second += (second - first) * std::log(raised) / (2 * std::log(10 / raised));
    CHECK(end == Approx(x / raised + (1 - 1 / raised) * second).epsilon(1e-9));
  }
}

}  // namespace
}  // namespace patchdiff
