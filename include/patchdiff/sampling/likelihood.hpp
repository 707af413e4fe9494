// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/differentiable_denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/probability_flow.hpp>

namespace patchdiff {

/// In place of a number of probes: the exact trace, by a backward pass for each value of an image.
inline constexpr std::int64_t exact_trace = 0;

/// How divergences are found, and the flow that they are added along.
struct LikelihoodOptions {
  ProbabilityFlowOptions flow{};
  std::int64_t probes = 1;  ///< of Hutchinson's estimator for each image, each a backward pass; or `exact_trace`
  RandomKey key{};          ///< of the probes
};

/// The log densities of a batch of images.
template <Backend B>
struct LogLikelihoods {
  std::vector<double> nats{};            ///< log p of each image
  std::vector<double> standard_error{};  ///< of the estimated trace, from its probes; 0 if exact, NaN for one probe
  typename B::Wide::Tensor noise{};      ///< what ProbabilityFlow::encode gives
  std::int64_t nfe = 0;                  ///< forward passes
};

/// The log density of images or patches under a model: log p(y; sigma_min) = log N(y_T; 0, sigma_max^2 + sigma_data^2)
/// + integral of (values - tr J) d ln sigma along the probability flow, with J = dD/dy.
///
/// Hutchinson's estimator of the trace is the mean of v J v over probes v of random signs, the same ones all along the
/// flow. The density is that of images with noise of level sigma_min; a patch's is that of patches at its place. The
/// prior leaves the mean m of the images out: a value that lies k deviations from it is off by about k m / sigma_max.
/// Source: SDE (arXiv 2011.13456), section 4.3 and equations 39 and 40.
class Likelihood {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit Likelihood(LikelihoodOptions options = {}) : options_(options), flow_(options.flow) {
    require<ConfigError>(options.probes >= 0, "Likelihood", "probes", "at least 1, or exact_trace", options.probes);
  }

  /// Shapes: images [N, C, h, w]; one place per sample.
  /// Draws: `Purpose::probe`, one number per value; the step is the probe, the sample is first_sample + n.
  /// Errors: NumericError for a density that is not finite; what the denoiser throws.
  template <DifferentiableDenoiser D>
  LogLikelihoods<typename D::Backend> operator()(D& denoiser, const typename D::Backend::Wide::Tensor& images,
                                                 const Places& places,
                                                 const Conditioning<typename D::Backend>& conditioning = {},
                                                 std::uint64_t first_sample = 0) const {
    using B = typename D::Backend;
    using Wide = typename B::Wide;
    using State = typename Wide::Tensor;
    const Shape shape = Wide::shape(images);
    if (shape.size() != 4 || element_count(shape) < 1) {
      refuse<ShapeError>("Likelihood", "images", "[N, C, h, w] with at least one value", to_string(shape));
    }
    const auto samples = static_cast<std::size_t>(shape[0]);
    const std::vector<typename B::Tensor> probes = drawn_probes<B>(shape, first_sample, denoiser.device());
    std::int64_t nfe = 0;

    // Beside the images, the state holds each value's share of the integral of tr J, for each estimate of the trace.
    const double from = std::log(flow_.options().sigma_min), to = std::log(flow_.options().sigma_max);
    std::vector<State> start{linear<Wide>(1 / flow_.spread(flow_.options().sigma_min), images)};
    start.resize(1 + std::max<std::size_t>(1, probes.size()), Wide::zeros(shape, Wide::device(images)));
    const auto rate = [&](const State& state, double log_sigma) {
      const double sigma = std::exp(log_sigma);
      const State z = Wide::slice(state, 1, 0, shape[1]);
      const auto noisy = B::narrow(linear<Wide>(flow_.spread(sigma), z), denoiser.device());
      const auto record = denoiser.record(noisy, std::vector<double>(samples, sigma), places, conditioning, by_input);
      ++nfe;
      std::vector<State> rates{flow_.slope<Wide>(z, B::widen(record.denoised), sigma)};
      for (State& diagonal : diagonals(denoiser, record, shape, probes)) rates.push_back(std::move(diagonal));
      return Wide::concat(rates, 1);
    };
    const State end = flow_.solver().integrate<Wide>(rate, Wide::concat(start, 1), from, to);

    const State z = Wide::slice(end, 1, 0, shape[1]);
    const double largest = flow_.spread(flow_.options().sigma_max);
    LogLikelihoods<B> result{
        .nats = log_prior<Wide>(z, largest), .noise = linear<Wide>(largest / flow_.options().sigma_max, z), .nfe = nfe};
    std::vector<std::vector<double>> integrals;
    for (std::size_t estimate = 1; estimate < start.size(); ++estimate) {
      const auto first = static_cast<std::int64_t>(estimate) * shape[1];
      integrals.push_back(Wide::to_host(Wide::sum_per_sample(Wide::slice(end, 1, first, shape[1]))));
    }
    const auto values = static_cast<double>(element_count(shape) / shape[0]);
    for (std::size_t n = 0; n < samples; ++n) {
      result.nats[n] += values * (to - from);
      subtract(integrals, n, result);
    }
    return result;
  }

  const LikelihoodOptions& options() const noexcept { return options_; }

 private:
  /// None for the exact trace.
  template <Backend B>
  std::vector<typename B::Tensor> drawn_probes(const Shape& shape, std::uint64_t first_sample,
                                               typename B::Device device) const {
    std::vector<typename B::Tensor> probes;
    for (std::int64_t probe = 0; probe < options_.probes; ++probe) {
      std::vector<double> signs;
      signs.reserve(static_cast<std::size_t>(element_count(shape)));
      for (std::int64_t n = 0; n < shape[0]; ++n) {
        const RandomStream stream(options_.key, Purpose::probe, static_cast<std::uint64_t>(probe),
                                  first_sample + static_cast<std::uint64_t>(n));
        for (std::int64_t value = 0; value < element_count(shape) / shape[0]; ++value) {
          signs.push_back(stream.uniform(static_cast<std::uint64_t>(value)) < 0.5 ? -1 : 1);
        }
      }
      probes.push_back(B::from_host(std::span<const double>(signs), shape, device));
    }
    return probes;
  }

  /// v (J^T v) for each probe v, or the diagonal of J; the sum over an image is (an estimate of) its trace.
  template <class D, class Record, class Tensor>
  static std::vector<typename D::Backend::Wide::Tensor> diagonals(D& denoiser, const Record& record, const Shape& shape,
                                                                  const std::vector<Tensor>& probes) {
    using B = typename D::Backend;
    using Wide = typename B::Wide;
    const auto product = [&](const Tensor& v) { return B::widen(B::multiply(v, *denoiser.backward(record, v))); };
    if (!probes.empty()) {
      std::vector<typename Wide::Tensor> all;
      for (const Tensor& probe : probes) all.push_back(product(probe));
      return all;
    }
    const auto count = static_cast<std::size_t>(element_count(shape));
    const std::size_t values = count / static_cast<std::size_t>(shape[0]);
    std::vector<double> unit(count);
    auto diagonal = Wide::zeros(shape, B::wide_device(denoiser.device()));
    for (std::size_t value = 0; value < values; ++value) {
      for (std::size_t at = value; at < count; at += values) unit[at] = 1;
      Wide::accumulate(diagonal, product(B::from_host(std::span<const double>(unit), shape, denoiser.device())));
      for (std::size_t at = value; at < count; at += values) unit[at] = 0;
    }
    return {std::move(diagonal)};
  }

  /// Of normalised images under the prior, as the density of images.
  template <Backend Wide>
  static std::vector<double> log_prior(const typename Wide::Tensor& z, double spread) {
    const Shape shape = Wide::shape(z);
    const auto values = static_cast<double>(element_count(shape)) / static_cast<double>(shape[0]);
    std::vector<double> nats = Wide::to_host(Wide::sum_per_sample(Wide::multiply(z, z)));
    for (double& value : nats) {
      value = -value / 2 - values * (std::log(2 * std::numbers::pi) / 2 + std::log(spread));
    }
    return nats;
  }

  /// Takes the mean of a sample's integrals from its density, and says how far it may be off.
  template <Backend B>
  void subtract(const std::vector<std::vector<double>>& integrals, std::size_t n, LogLikelihoods<B>& result) const {
    const auto count = static_cast<double>(integrals.size());
    double mean = 0, squares = 0;
    for (const std::vector<double>& integral : integrals) mean += integral[n] / count;
    for (const std::vector<double>& integral : integrals) squares += (integral[n] - mean) * (integral[n] - mean);
    result.nats[n] -= mean;
    result.standard_error.push_back(options_.probes == exact_trace ? 0 : std::sqrt(squares / (count - 1) / count));
    if (!std::isfinite(result.nats[n])) {
      refuse<NumericError>("Likelihood", "images", "finite densities",
                           str(std::isnan(result.nats[n]) ? "nan" : "infinity", " of sample ", n));
    }
  }

  LikelihoodOptions options_;
  ProbabilityFlow flow_;
};

}  // namespace patchdiff
