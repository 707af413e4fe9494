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
#include <patchdiff/diffusion/sigma_schedule.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/pixel_noise.hpp>
#include <patchdiff/sampling/rk45.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Progress = SamplingProgress<B>;

const GaussianDenoiser<B> gaussian{.shape = {1, 1, 1}, .mean = 0.3, .deviation = 0.5};

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

TEST_CASE("the samples of Gaussian data are where the closed form puts them") {
  const GaussianDenoiser<B> images{.shape = {3, 5, 4}, .mean = 0.3, .deviation = 0.5};
  const std::vector<std::uint64_t> seeds = seed_range(10, 4);
  CHECK(seeds == std::vector<std::uint64_t>{10, 11, 12, 13});
  const B::Tensor noise = pixel_noise<B>(seeds, Purpose::initial_noise, 0, 0, images.shape, {0, 0, 5, 4}, {});
  const B::Tensor samples = ODESampler{{.num_steps = 256}}(images, {.seeds = seeds});
  REQUIRE(samples.shape == Shape{4, 3, 5, 4});
  for (std::size_t i = 0; i < samples.values.size(); ++i) {
    CHECK(samples.values[i] == Approx(images.solution(80 * noise.values[i], 80, 0)).margin(5e-4));
  }
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
            pixel_noise<B>(std::vector<std::uint64_t>{4}, Purpose::initial_noise, 0, 0, {1, 2, 2}, {0, 0, 2, 2}, {});
        CHECK(progress.denoised.values[3] == Approx(0.25 * progress.sigma * noise.values[3] / variance));
      }
      if (progress.step == 3) at_three = progress.x;
      return progress.step == last ? Flow::stop : Flow::proceed;
    };
  };
  const B::Tensor whole = sampler(images, {.seeds = {4}}, watch(99));
  CHECK(B::to_host(whole) == B::to_host(sampler(images, {.seeds = {4}})));
  const std::vector<double> expected = SigmaSchedule::edm()(6);
  for (std::size_t step = 0; step < 6; ++step) CHECK(levels[step] == Approx(expected[step]).epsilon(1e-15));
  levels.clear();
  CHECK(B::to_host(sampler(images, {.seeds = {4}}, watch(3))) == B::to_host(at_three));
  CHECK(levels.size() == 3);
}

/// A model whose estimate depends on sigma, coordinates and labels.
DenoiserWrapper<host::PixelwiseNetwork<host::SpanBackend<float>>> model() {
  using F = host::SpanBackend<float>;
  return {host::PixelwiseNetwork<F>({.in_channels = 4, .out_channels = 2, .label_dim = 3}, {1}), {.image = {2, 6, 7}}};
}

TEST_CASE("a seed's sample does not depend on the seeds beside it") {
  using F = host::SpanBackend<float>;
  const auto denoiser = model();
  const ODESampler sampler({.num_steps = 4}, Churn({.s_churn = 2}));
  const F::Tensor labels = random_tensor<F>({3, 3}, 2);
  const std::vector<std::uint64_t> seeds{5, 900, 5};
  const auto samples = sampler(denoiser, {.seeds = seeds, .conditioning = {.class_labels = labels}});
  static_assert(std::is_same_v<decltype(samples), const B::Tensor>, "the state is in float64");
  for (std::int64_t n = 0; n < 3; ++n) {
    const auto alone = sampler(denoiser, {.seeds = {seeds[static_cast<std::size_t>(n)]},
                                          .conditioning = {.class_labels = F::slice(labels, 0, n, 1)}});
    CHECK(B::to_host(alone) == B::to_host(B::slice(samples, 0, n, 1)));
  }
  CHECK(B::to_host(B::slice(samples, 0, 0, 1)) != B::to_host(B::slice(samples, 0, 1, 1)));
}

TEST_CASE("a window is drawn as that part of the whole image") {
  using F = host::SpanBackend<float>;
  const auto denoiser = model();
  const ODESampler sampler({.num_steps = 4}, Churn({.s_churn = 2}));
  const Conditioning<F> labels{.class_labels = random_tensor<F>({2, 3}, 2)};
  const B::Tensor whole = sampler(denoiser, {.seeds = {1, 2}, .conditioning = labels});
  for (const Window window : {Window{0, 0, 6, 7}, Window{2, 1, 3, 4}, Window{5, 6, 1, 1}}) {
    const B::Tensor part = sampler(denoiser, {.seeds = {1, 2}, .conditioning = labels, .window = window});
    CHECK(B::to_host(part) ==
          B::to_host(B::crop(whole, Places::repeated(window.size(), Place::at(window.top, window.left), 2))));
  }
}

TEST_CASE("pixel noise is indexed by the pixel's place in the full image") {
  const ImageShape image{2, 5, 6};
  const Window window{1, 2, 3, 4};
  const B::Tensor noise =
      pixel_noise<B>(std::vector<std::uint64_t>{8, 9}, Purpose::solver_noise, 7, 3, image, window, {});
  CHECK(noise.shape == Shape{2, 2, 3, 4});
  std::vector<double> expected(2 * 5 * 6);
  RandomStream({9}, Purpose::solver_noise, 7, 3).normals(std::span(expected));
  CHECK(B::to_host(B::slice(noise, 0, 1, 1)) ==
        B::to_host(B::crop(tensor<B>({1, 2, 5, 6}, expected), Places{{3, 4}, {Place::at(1, 2)}})));
}

TEST_CASE("ODESampler refuses steps that cannot work") {
  const auto make = [](ODESamplerOptions options) { return ODESampler<Heun>(std::move(options)); };
  CHECK_ERROR(ConfigError, "SigmaSchedule: num_steps: expected at least 1, got 0", make({.num_steps = 0}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected falling values, got 2 at step 1 after 1",
              make({.num_steps = 3, .schedule = SigmaSchedule::list({1, 2, 0.5})}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected falling values, got 1 at step 2 after 1",
              make({.num_steps = 3, .schedule = SigmaSchedule::list({2, 1, 1})}));
}

/// A denoiser that fails from the second call on.
struct BrokenDenoiser : GaussianDenoiser<B> {
  mutable int calls = 0;

  B::Tensor operator()(const B::Tensor& x, std::span<const double> sigma, const Places& places,
                       const Conditioning<B>& conditioning) const {
    B::Tensor denoised = GaussianDenoiser<B>::operator()(x, sigma, places, conditioning);
    if (++calls > 2) denoised.values[1] = std::numeric_limits<double>::quiet_NaN();
    return denoised;
  }
};

TEST_CASE("a run that stops being finite says after which step and at which sigma") {
  const BrokenDenoiser broken{{.shape = {1, 2, 2}}};
  const ODESampler sampler({.num_steps = 4, .schedule = SigmaSchedule::list({8, 4, 2, 1})}, Euler{});
  CHECK_ERROR(NumericError, "ODESampler: samples: expected finite values, got others after step 3 of 4 (sigma 2)",
              sampler(broken, {.seeds = {1}}));
  CHECK(broken.calls == 4);

  // A host that looks after each step stops early, and the error is the same.
  broken.calls = 0;
  const auto look = [](const Progress& progress) { return progress.finite() ? Flow::proceed : Flow::stop; };
  CHECK_ERROR(NumericError, "ODESampler: samples: expected finite values, got others after step 3 of 4 (sigma 2)",
              sampler(broken, {.seeds = {1}}, look));
  CHECK(broken.calls == 3);

  // A solver with substeps ends its step at once.
  broken.calls = 0;
  CHECK_ERROR(NumericError, "ODESampler: samples: expected finite values, got others after step 1 of 4 (sigma 8)",
              ODESampler(sampler.options(), RK45{})(broken, {.seeds = {1}}));

  broken.calls = 0;
  ODESamplerOptions unchecked = sampler.options();
  unchecked.check_finite = false;
  CHECK(std::isnan(ODESampler(unchecked, Euler{})(broken, {.seeds = {1}}).values[1]));
}

TEST_CASE("ODESampler refuses requests that do not fit the model") {
  const GaussianDenoiser<B> images{.shape = {1, 6, 7}};
  const ODESampler sampler;
  CHECK_ERROR(ShapeError, "ODESampler: seeds: expected at least one seed, got none", sampler(images, {}));
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const Window window : {Window{-1, 0, 2, 2}, Window{0, -1, 2, 2}, Window{5, 0, 2, 2}, Window{0, 6, 2, 2},
                              Window{0, 0, 0, 2}, Window{0, 0, 2, 0}, Window{most, 0, 1, 2}, Window{0, most, 2, 1},
                              Window{1, 0, most, 2}, Window{0, 1, 2, most}}) {
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
