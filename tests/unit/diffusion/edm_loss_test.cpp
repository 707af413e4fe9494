// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/training_noise.hpp>
#include <patchdiff/diffusion/vp.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

const std::vector<double> sigma{0.3, 2.0};
const Formulation edm = EDM{};

double total(const LossValue<B>& loss) { return loss.per_sample.values[0] + loss.per_sample.values[1]; }

TEST_CASE("the loss by hand: weight, sum and mean, mask") {
  const B::Tensor clean = tensor<B>({2, 1, 1, 2}, {0, 1, 2, 3});
  const B::Tensor denoised = tensor<B>({2, 1, 1, 2}, {1, 3, 2, 6});  // errors 1, 2 and 0, 3
  const double w0 = EDM{}.loss_weight(0.3), w1 = EDM{}.loss_weight(2.0);

  const auto values = [&](EDMLossOptions options, std::optional<B::Tensor> mask = {}) {
    return B::to_host(EDMLoss<B>(options)(edm, denoised, clean, sigma, mask).per_sample);
  };
  CHECK(values({}) == std::vector<double>{w0 * 1 + w0 * 2 * 2, w1 * 3 * 3});
  CHECK(values({.weighting = Weighting::unit()}) == std::vector<double>{5, 9});
  CHECK(values({.weighting = Weighting::unit(), .reduction = Reduction::mean}) == std::vector<double>{2.5, 4.5});
  CHECK(values({.weighting = Weighting::unit()}, tensor<B>({2, 1, 1, 2}, {1, 0, 1, 0.5})) ==
        std::vector<double>{1, 4.5});
  CHECK(B::to_host(EDMLoss<B>{}.pixel_losses(edm, denoised, clean, sigma)) ==
        std::vector<double>{w0 * 1, w0 * 2 * 2, 0, w1 * 3 * 3});
}

TEST_CASE("a mask of one channel serves every channel") {
  const B::Tensor clean = random_tensor<B>({2, 3, 2, 4}, 1), denoised = random_tensor<B>({2, 3, 2, 4}, 2);
  const B::Tensor mask = random_tensor<B>({2, 1, 2, 4}, 3);
  const B::Tensor three = B::concat(std::vector{mask, mask, mask}, 1);
  const EDMLoss<B> loss;
  CHECK(B::to_host(loss(edm, denoised, clean, sigma, mask).gradient) ==
        B::to_host(loss(edm, denoised, clean, sigma, three).gradient));
  CHECK(B::to_host(loss.pixel_losses(edm, denoised, clean, sigma, mask)) ==
        B::to_host(loss.pixel_losses(edm, denoised, clean, sigma, three)));
}

TEST_CASE("the gradient is the derivative of the losses' sum") {
  const Shape shape{2, 3, 2, 4};
  const B::Tensor clean = random_tensor<B>(shape, 1), denoised = random_tensor<B>(shape, 2);
  for (const Reduction reduction : {Reduction::sum, Reduction::mean}) {
    for (const Weighting& weighting : {Weighting::of_formulation(), Weighting::unit()}) {
      for (const bool masked : {false, true}) {
        const EDMLoss<B> loss({.weighting = weighting, .reduction = reduction});
        const auto mask = masked ? std::optional(random_tensor<B>({2, 1, 2, 4}, 3)) : std::nullopt;
        const LossValue<B> value = loss(edm, denoised, clean, sigma, mask);
        REQUIRE(value.gradient.shape == shape);
        REQUIRE(value.per_sample.shape == Shape{2});
        for (std::size_t i = 0; i < denoised.values.size(); ++i) {
          const double slope = central_difference([&](double step) {
            B::Tensor moved = B::clone(denoised);
            moved.values[i] += step;
            return total(loss(edm, moved, clean, sigma, mask));
          });
          CHECK(value.gradient.values[i] == Approx(slope).epsilon(1e-6).margin(1e-8));
        }
      }
    }
  }
}

TEST_CASE("under EDM's weight the loss is the squared error of the network's own target") {
  const Shape shape{2, 1, 3, 3};
  const B::Tensor clean = random_tensor<B>(shape, 1), noise = random_tensor<B>(shape, 2);
  const B::Tensor output = random_tensor<B>(shape, 3);
  B::Tensor denoised = B::clone(clean);
  std::vector<double> expected(2);
  for (std::size_t i = 0; i < clean.values.size(); ++i) {
    const std::size_t sample = i / 9;
    const Preconditioning c = EDM{}.preconditioning(sigma[sample]);
    const double noisy = clean.values[i] + sigma[sample] * noise.values[i];
    denoised.values[i] = c.c_skip * noisy + c.c_out * output.values[i];
    const double error = output.values[i] - (clean.values[i] - c.c_skip * noisy) / c.c_out;
    expected[sample] += error * error;
  }
  const LossValue<B> value = EDMLoss<B>{}(edm, denoised, clean, sigma);
  CHECK(value.per_sample.values[0] == Approx(expected[0]).epsilon(1e-12));
  CHECK(value.per_sample.values[1] == Approx(expected[1]).epsilon(1e-12));
}

// False-alarm rate: 5.7e-7 for each moment.
TEST_CASE("one log-normal sigma per sample, the same for every split of the batch") {
  const EDMLoss<B> loss({.sigma = SigmaDistribution::log_normal(-0.4, 1.0)});
  std::vector<double> logs, squares;
  for (std::uint64_t step = 0; step < 200; ++step) {
    for (const double level : loss.draw_sigma(EDM{}, {.step = step, .key = {3}}, 100)) {
      logs.push_back(std::log(level));
      squares.push_back((logs.back() + 0.4) * (logs.back() + 0.4));
    }
  }
  CHECK(z_of_mean(logs, -0.4, 1) < largest_z);
  CHECK(z_of_mean(squares, 1, std::sqrt(2)) < largest_z);

  const PatchPlan plan{.step = 4, .key = {3}};
  std::vector<double> parts = loss.draw_sigma(EDM{}, plan, 3);
  for (const double level : loss.draw_sigma(EDM{}, plan, 5, 3)) parts.push_back(level);
  CHECK(parts == loss.draw_sigma(EDM{}, plan, 8));
}

TEST_CASE("a loss without a distribution of its own draws the formulation's") {
  const PatchPlan plan{.step = 4, .key = {3}};
  for (const Formulation& formulation : {Formulation(EDM{}), Formulation(IDDPM{}), Formulation(VP{})}) {
    const double drawn = EDMLoss<B>{}.draw_sigma(formulation, plan, 1)[0];
    CHECK(drawn == formulation.sigma_distribution().quantile(plan.stream(Purpose::sigma, 0).uniform(0)));
  }
}

TEST_CASE("training noise is the same for every split of the batch") {
  const PatchPlan plan{.step = 4, .key = {3}};
  const B::Tensor whole = training_noise<B>(plan, 0, {5, 2, 3, 3}, {});
  const B::Tensor first = training_noise<B>(plan, 0, {2, 2, 3, 3}, {});
  const B::Tensor second = training_noise<B>(plan, 2, {3, 2, 3, 3}, {});
  CHECK(B::to_host(B::concat(std::vector{first, second}, 0)) == B::to_host(whole));
  CHECK(B::to_host(training_noise<B>({.step = 5, .key = {3}}, 0, {5, 2, 3, 3}, {})) != B::to_host(whole));
  std::vector<float> expected(18);
  RandomStream({3}, Purpose::training_noise, 4, 1).normals(std::span(expected));
  CHECK(B::to_host(B::slice(whole, 0, 1, 1)) == std::vector<double>(expected.begin(), expected.end()));
}

TEST_CASE("EDMLoss refuses what does not fit") {
  const EDMLoss<B> loss;
  const B::Tensor images = filled<B>({2, 3, 4, 4}, 0);
  CHECK_ERROR(ShapeError, "EDMLoss: clean: expected rank 4, [N, C, h, w], got [2, 3]",
              loss(edm, images, filled<B>({2, 3}, 0), sigma));
  CHECK_ERROR(ShapeError, "EDMLoss: denoised: expected [2, 3, 4, 4], got [2, 5, 4, 4]",
              loss(edm, filled<B>({2, 5, 4, 4}, 0), images, sigma));
  CHECK_ERROR(ShapeError, "EDMLoss: sigma: expected 2 values, got 1",
              loss(edm, images, images, std::vector<double>{1}));
  for (const auto& [level, text] :
       {std::pair{0.0, "0"}, std::pair{-1.0, "-1"}, std::pair{std::numeric_limits<double>::infinity(), "inf"},
        std::pair{std::numeric_limits<double>::quiet_NaN(), "nan"}}) {
    CHECK_ERROR(DataError, fmt::format("EDMLoss: sigma: expected finite values > 0, got {}", text),
                loss(edm, images, images, std::vector<double>{1, level}));
  }
  CHECK_ERROR(ShapeError, "EDMLoss: mask: expected [2, 1 or 3, 4, 4], got [2, 2, 4, 4]",
              loss(edm, images, images, sigma, filled<B>({2, 2, 4, 4}, 1)));
  CHECK_ERROR(ShapeError, "EDMLoss: mask: expected [2, 1 or 3, 4, 4], got [4, 4]",
              loss.pixel_losses(edm, images, images, sigma, filled<B>({4, 4}, 1)));
}

}  // namespace
}  // namespace patchdiff
