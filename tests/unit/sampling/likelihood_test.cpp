// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/sampling/bits_per_dimension.hpp>
#include <patchdiff/sampling/likelihood.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/probability_flow.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/affine_sampler.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/mixture_denoiser.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// The largest difference of the found log densities to those that add up from pixels, in nats per value.
template <class LogDensity>
double largest_error(const LogLikelihoods<B>& found, const B::Tensor& images, LogDensity&& log_density) {
  const std::size_t values = images.values.size() / found.nats.size();
  double largest = 0;
  for (std::size_t n = 0; n < found.nats.size(); ++n) {
    double exact = 0;
    for (std::size_t i = n * values; i < (n + 1) * values; ++i) exact += log_density(images.values[i]);
    largest = std::max(largest, std::abs(found.nats[n] - exact) / static_cast<double>(values));
  }
  return largest;
}

TEST_CASE("the likelihood of Gaussian images is the exact one, for whole images and patches") {
  for (const double deviation : {0.2, 0.5, 1.3}) {
    GaussianDenoiser<B> denoiser{.shape = {2, 6, 7}, .mean = 0.1, .deviation = deviation};
    const GaussianDenoiser<B> prior{.deviation = 0.5};
    for (const Window window : {Window{0, 0, 6, 7}, Window{1, 4, 3, 2}}) {
      const Places places = Places::repeated(window.size(), Place::at(window.top, window.left), 3);
      B::Tensor images = random_tensor<B>({3, 2, window.height, window.width}, 1);
      for (double& value : images.values) value = 0.1 + deviation * value;
      // Random signs square to 1: for a diagonal Jacobian, one probe is exact.
      for (const std::int64_t probes : {exact_trace, std::int64_t{1}, std::int64_t{3}}) {
        const LogLikelihoods<B> found = Likelihood({.probes = probes})(denoiser, images, places);
        CHECK(largest_error(found, images, [&](double x) { return denoiser.log_density(x, 0.002); }) < 1e-3);
        // Without what the prior leaves out, the mean of the noisy images at sigma_max.
        CHECK(largest_error(found, images, [&](double x) {
                return prior.log_density(denoiser.solution(x, 0.002, 80), 80) +
                       std::log(std::hypot(deviation, 80) / std::hypot(deviation, 0.002));
              }) < 1e-4);
        for (const double error : found.standard_error) CHECK((probes == 1 ? std::isnan(error) : error < 1e-9));
      }
    }
  }
}

TEST_CASE("the likelihood of a mixture is the exact one") {
  MixtureDenoiser denoiser{.shape = {1, 2, 4}, .weight = 0.5, .deviation = 0.2};
  const B::Tensor images = tensor<B>({1, 1, 2, 4}, {-1.3, -1, -0.8, -0.4, 0.1, 0.7, 1, 1.2});
  const LogLikelihoods<B> found = Likelihood({.probes = exact_trace})(denoiser, images, Places::whole({2, 4}, 1));
  CHECK(largest_error(found, images, [&](double x) { return denoiser.log_density(x, 0.002); }) < 1e-3);
}

// False-alarm rate: 5.7e-7 for each of the two.
TEST_CASE("Hutchinson's estimator is off by no more than it says") {
  constexpr std::size_t samples = 1024;
  constexpr double probes = 4;
  CorrelatedDenoiser denoiser;
  B::Tensor images = random_tensor<B>({samples, 2, 1, 1}, 3);
  for (double& value : images.values) value *= 0.2;
  const Places places = Places::whole({1, 1}, samples);
  // So high that the mean of the images, which the prior leaves out, does not count.
  const ProbabilityFlowOptions flow{.sigma_max = 2000};
  const LogLikelihoods<B> exact = Likelihood({.flow = flow, .probes = exact_trace})(denoiser, images, places);
  const LogLikelihoods<B> found = Likelihood({.flow = flow, .probes = 4, .key = {5}})(denoiser, images, places);
  // A probe gives tr J + 2 v1 v2 J12: the integral of the trace plus or minus this.
  const auto integral = [](double variance) {
    return std::log(2000 / std::sqrt(variance + 4e6)) - std::log(0.002 / std::sqrt(variance + 4e-6));
  };
  const double spread = integral(CorrelatedDenoiser::sum_variance) - integral(CorrelatedDenoiser::difference_variance);
  std::vector<double> errors, squares;
  for (std::size_t n = 0; n < samples; ++n) {
    const double density = CorrelatedDenoiser::log_density(images.values[2 * n], images.values[2 * n + 1], 0.002);
    CHECK(exact.nats[n] == Approx(density).margin(2e-3));
    CHECK(exact.standard_error[n] == 0);
    errors.push_back(found.nats[n] - exact.nats[n]);
    squares.push_back(found.standard_error[n] * found.standard_error[n] * probes / (spread * spread));
  }
  CHECK(z_of_mean(errors, 0, spread / std::sqrt(probes)) < largest_z);
  // Of four signs, the variance is 1 on average, and 1/6 is its own variance.
  CHECK(z_of_mean(squares, 1, std::sqrt(1.0 / 6)) < largest_z);
  CHECK(spread > 1);
}

/// A model whose estimate depends on sigma, coordinates and labels, and on each pixel alone.
DenoiserWrapper<host::PixelwiseNetwork<B>> model() {
  return {host::PixelwiseNetwork<B>({.in_channels = 4, .out_channels = 2, .label_dim = 3}, {1}), {.image = {2, 4, 5}}};
}

const Conditioning<B> labels{.class_labels = random_tensor<B>({2, 3}, 2)};
const B::Tensor two_images = random_tensor<B>({2, 2, 4, 5}, 4);

TEST_CASE("a model of independent pixels: its windows' log densities add up to the image's") {
  auto denoiser = model();
  const Likelihood likelihood({.probes = exact_trace});
  const LogLikelihoods<B> whole = likelihood(denoiser, two_images, Places::whole({4, 5}, 2), labels);
  std::vector<double> sum(2);
  for (const Window window : {Window{0, 0, 4, 2}, Window{0, 2, 1, 3}, Window{1, 2, 3, 3}}) {
    const Places places = Places::repeated(window.size(), Place::at(window.top, window.left), 2);
    const LogLikelihoods<B> part = likelihood(denoiser, B::crop(two_images, places), places, labels);
    for (const std::size_t n : {0, 1}) sum[n] += part.nats[n];
  }
  for (const std::size_t n : {0, 1}) CHECK(whole.nats[n] == Approx(sum[n]).margin(40 * 1e-4));
  // Elsewhere the model is another one.
  const Places wrong = Places::repeated({4, 2}, Place::at(0, 3), 2);
  const Places right = Places::repeated({4, 2}, Place::at(0, 0), 2);
  const B::Tensor part = B::crop(two_images, right);
  CHECK(std::abs(likelihood(denoiser, part, wrong, labels).nats[0] -
                 likelihood(denoiser, part, right, labels).nats[0]) > 0.01);
}

TEST_CASE("a likelihood leaves the parameters' gradients alone, and does not depend on the batch") {
  auto denoiser = model();
  const Likelihood likelihood({.flow = {.tolerance = {1e-8, 1e-8}}, .probes = 2});
  const LogLikelihoods<B> both = likelihood(denoiser, two_images, Places::whole({4, 5}, 2), labels, 7);
  denoiser.visit_parameters([](auto, B::Tensor&, B::Tensor& gradient) {
    for (const double value : gradient.values) CHECK(value == 0);
  });
  const LogLikelihoods<B> second = likelihood(denoiser, B::slice(two_images, 0, 1, 1), Places::whole({4, 5}, 1),
                                              {.class_labels = B::slice(*labels.class_labels, 0, 1, 1)}, 8);
  CHECK(second.nats[0] == Approx(both.nats[1]).margin(1e-4));
  CHECK(second.standard_error[0] == Approx(both.standard_error[1]).margin(1e-4));
  CHECK(both.nfe > 10);
}

TEST_CASE("images become noise and come back") {
  const GaussianDenoiser<B> gaussian{.shape = {1, 2, 3}, .mean = 0.3, .deviation = 0.8};
  const ProbabilityFlow flow;
  const B::Tensor images = random_tensor<B>({2, 1, 2, 3}, 1);
  const B::Tensor noise = flow.encode(gaussian, images, Places::whole({2, 3}, 2));
  for (std::size_t i = 0; i < noise.values.size(); ++i) {
    CHECK(noise.values[i] == Approx(gaussian.solution(images.values[i], 0.002, 80) / 80).margin(1e-4));
  }
  auto denoiser = model();
  const Places whole = Places::whole({4, 5}, 2);
  const auto distance = [](const B::Tensor& x, const B::Tensor& y) {
    double largest = 0;
    for (std::size_t i = 0; i < x.values.size(); ++i) largest = std::max(largest, std::abs(x.values[i] - y.values[i]));
    return largest;
  };
  const auto round_trip = [&](double tolerance) {
    const ProbabilityFlow closely({.tolerance = {tolerance, tolerance}});
    return distance(closely.decode(denoiser, closely.encode(denoiser, two_images, whole, labels), whole, labels),
                    two_images);
  };
  CHECK(round_trip(1e-5) < 1e-3);
  CHECK(round_trip(1e-8) < 1e-6);
  // The sampler's own way back ends at the data, a level of 0.002 further.
  const B::Tensor model_noise = flow.encode(denoiser, two_images, whole, labels);
  const B::Tensor sampled =
      ODESampler({.num_steps = 512})
          .solve(denoiser, model_noise, whole, labels,
                 [](std::int64_t, std::int64_t) -> B::Tensor { throw std::logic_error("Heun draws no noise"); });
  CHECK(distance(sampled, two_images) < 0.02);
  const LogLikelihoods<B> found = Likelihood()(denoiser, two_images, whole, labels);
  CHECK(distance(found.noise, model_noise) < 1e-3);
}

TEST_CASE("bits per dimension: bytes of even distribution take eight") {
  const double uniform = -12 * std::log(256 / 127.5);
  CHECK(bits_per_dimension(uniform, 12) == Approx(8));
  CHECK(bits_per_dimension(0, 12) == Approx(std::log2(127.5)));
  CHECK(bits_per_dimension(-24 * std::numbers::ln2, 12, 1.0 / 128) == Approx(9));
}

TEST_CASE("dequantised images lie within half a step, and a sample's draws are its own") {
  const B::Tensor images = random_tensor<B>({2, 1, 32, 32}, 1);
  const B::Tensor spread = dequantised<B>(images, {3}, 5);
  std::vector<double> shifts;
  for (std::size_t i = 0; i < images.values.size(); ++i) {
    shifts.push_back((spread.values[i] - images.values[i]) * 127.5);
    CHECK(std::abs(shifts.back()) <= 0.5);
  }
  CHECK(kolmogorov(shifts, [](double shift) { return shift + 0.5; }) < largest_kolmogorov);
  CHECK(B::to_host(dequantised<B>(B::slice(images, 0, 1, 1), {3}, 6)) == B::to_host(B::slice(spread, 0, 1, 1)));
}

/// A denoiser that gives NaN below a noise level.
struct Breaking : GaussianDenoiser<B> {
  B::Tensor operator()(const B::Tensor& x, std::span<const double> sigma, const Places& places,
                       const Conditioning<B>& conditioning) const {
    B::Tensor denoised = GaussianDenoiser<B>::operator()(x, sigma, places, conditioning);
    if (sigma[0] > 1) denoised.values[0] = std::numeric_limits<double>::quiet_NaN();
    return denoised;
  }
  Record record(const B::Tensor& x, std::span<const double> sigma, const Places& places,
                const Conditioning<B>& conditioning, const Pass& pass) const {
    Record record = GaussianDenoiser<B>::record(x, sigma, places, conditioning, pass);
    record.denoised = (*this)(x, sigma, places, conditioning);
    return record;
  }
};

TEST_CASE("likelihoods and flows refuse what cannot work") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK_ERROR(ConfigError, "Likelihood: probes: expected at least 1, or exact_trace, got -1",
              Likelihood({.probes = -1}));
  CHECK_ERROR(ConfigError, "ProbabilityFlow: sigma_min: expected a finite value > 0, got 0",
              ProbabilityFlow({.sigma_min = 0}));
  CHECK_ERROR(ConfigError, "ProbabilityFlow: sigma_max: expected a finite value > sigma_min = 2, got 2",
              Likelihood({.flow = {.sigma_min = 2, .sigma_max = 2}}));
  CHECK_ERROR(ConfigError, "ProbabilityFlow: sigma_max: expected a finite value > sigma_min = 0.002, got inf",
              ProbabilityFlow({.sigma_max = infinity}));
  CHECK_ERROR(ConfigError, "ProbabilityFlow: sigma_data: expected a finite value > 0, got -1",
              ProbabilityFlow({.sigma_data = -1}));
  GaussianDenoiser<B> gaussian{.shape = {1, 1, 2}};
  CHECK_ERROR(ShapeError, "Likelihood: images: expected [N, C, h, w] with at least one value, got [0, 1, 1, 2]",
              Likelihood()(gaussian, B::zeros({0, 1, 1, 2}, {}), Places::whole({1, 2}, 0)));
  CHECK_ERROR(ShapeError, "Likelihood: images: expected [N, C, h, w] with at least one value, got [2]",
              Likelihood()(gaussian, B::zeros({2}, {}), Places::whole({1, 2}, 1)));
  Breaking breaking{{.shape = {1, 1, 2}}};
  const B::Tensor image = filled<B>({1, 1, 1, 2}, 0.5);
  CHECK_ERROR(NumericError, "Likelihood: images: expected finite densities, got nan of sample 0",
              Likelihood()(breaking, image, Places::whole({1, 2}, 1)));
  CHECK_ERROR(NumericError, "ProbabilityFlow: images: expected finite values on the way, got others",
              ProbabilityFlow().encode(breaking, image, Places::whole({1, 2}, 1)));
}

}  // namespace
}  // namespace patchdiff
