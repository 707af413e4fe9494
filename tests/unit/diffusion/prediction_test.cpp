// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <vector>

#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/perturb.hpp>
#include <patchdiff/diffusion/prediction.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

const std::vector<NoiseLevel> levels{{1, 0.01}, {0.3, 2}, {1, 70}, {0.02, 50}};

TEST_CASE("predictions of noise, velocity, score and image say the same") {
  const B::Tensor clean = random_tensor<B>({4, 1, 2, 3}, 1), noise = random_tensor<B>({4, 1, 2, 3}, 2);
  const B::Tensor x = perturb<B>(clean, levels, noise);
  const auto of = [&](Prediction kind) {
    return B::to_host(convert_prediction<B>(clean, Prediction::denoised, kind, x, levels));
  };
  for (std::size_t i = 0; i < clean.values.size(); ++i) {
    const NoiseLevel level = levels[i / 6];
    const double alpha = 1 / std::sqrt(1 + level.sigma * level.sigma), z = noise.values[i], x0 = clean.values[i];
    CHECK(of(Prediction::denoised)[i] == x0);
    CHECK(of(Prediction::noise)[i] == Approx(z).epsilon(1e-9));
    CHECK(of(Prediction::velocity)[i] == Approx(alpha * z - alpha * level.sigma * x0).epsilon(1e-9));
    CHECK(of(Prediction::score)[i] == Approx(-z / level.deviation()).epsilon(1e-9));
  }
  const std::vector<Prediction> kinds{Prediction::denoised, Prediction::noise, Prediction::velocity, Prediction::score};
  for (const Prediction from : kinds) {
    const B::Tensor given = convert_prediction<B>(clean, Prediction::denoised, from, x, levels);
    for (const Prediction to : kinds) {
      const B::Tensor got = convert_prediction<B>(given, from, to, x, levels);
      const B::Tensor expected = convert_prediction<B>(clean, Prediction::denoised, to, x, levels);
      for (std::size_t i = 0; i < got.values.size(); ++i) {
        CHECK(got.values[i] == Approx(expected.values[i]).epsilon(1e-8).margin(1e-9));
      }
    }
  }
}

TEST_CASE("the score is the gradient of the log density of noisy images, scaled or not, and of patches") {
  const GaussianDenoiser<B> gaussian{.shape = {1, 8, 8}, .mean = 0.3, .deviation = 0.5};
  const B::Tensor x = random_tensor<B>({4, 1, 2, 3}, 3);
  const Places places = Places::repeated({2, 3}, Place::at(5, 1), 4);
  std::vector<double> sigma;
  for (const NoiseLevel& level : levels) sigma.push_back(level.sigma);
  const B::Tensor unscaled = score(gaussian, x, sigma, places);
  const B::Tensor scaled = score(gaussian, x, levels, places);
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    const auto [scale, noise] = levels[i / 6];
    const double variance = 0.25 + noise * noise;
    CHECK(unscaled.values[i] == Approx(-(x.values[i] - 0.3) / variance).epsilon(1e-9));
    CHECK(scaled.values[i] == Approx(-(x.values[i] - scale * 0.3) / (scale * scale * variance)).epsilon(1e-8));
  }
}

}  // namespace
}  // namespace patchdiff
