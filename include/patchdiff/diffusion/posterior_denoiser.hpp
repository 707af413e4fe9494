// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/differentiable_denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// How sure a measurement y = A(x0) + noise is, given a noisy image: normal about A(D) with variance
/// deviation^2 + gain sigma^2 sigma_data^2 / (sigma^2 + sigma_data^2).
struct PosteriorOptions {
  double deviation = 0;     ///< standard deviation of the measurement's noise, >= 0
  double sigma_data = 0.5;  ///< standard deviation of the clean images, > 0
  double gain = 1;          ///< the diagonal of A A^T, > 0: 1 for a mask, 1 / k for the mean of k pixels
};

/// Draws images that explain a measurement y = A(x0) + noise, as a denoiser around a denoiser: to the score of the
/// noisy images it adds the gradient of log p(y | D(x)), through the network.
///
/// `misfit_gradient(denoised)` is the gradient of |A(denoised) - y|^2 / 2 by `denoised`, A^T (A denoised - y) for a
/// linear A; `autograd_misfit` makes it of any LibTorch function. Exact for linear A with A A^T = gain and independent
/// normal pixels of deviation sigma_data. Keeps a reference: the inner denoiser must outlive it; not safe from many
/// threads, and costs a forward and a backward pass.
/// Source: DPS (arXiv 2209.14687), equations 10 and 16; the variance is that of Song et al., Pseudoinverse-guided
/// diffusion models (ICLR 2023), instead of step sizes by hand.
template <DifferentiableDenoiser Inner>
class PosteriorDenoiser {
 public:
  using Backend = typename Inner::Backend;
  using Tensor = typename Backend::Tensor;
  using MisfitGradient = std::function<Tensor(const Tensor& denoised)>;

  /// Errors: ConfigError for settings that cannot work.
  PosteriorDenoiser(Inner& inner, MisfitGradient misfit_gradient, PosteriorOptions options = {})
      : inner_(&inner), misfit_gradient_(std::move(misfit_gradient)), options_(options) {
    require<ConfigError>(options.deviation >= 0 && std::isfinite(options.deviation), "PosteriorDenoiser", "deviation",
                         "a finite value >= 0", options.deviation);
    require<ConfigError>(options.sigma_data > 0 && std::isfinite(options.sigma_data), "PosteriorDenoiser", "sigma_data",
                         "a finite value > 0", options.sigma_data);
    require<ConfigError>(options.gain > 0 && std::isfinite(options.gain), "PosteriorDenoiser", "gain",
                         "a finite value > 0", options.gain);
  }

  /// Errors: ShapeError where the gradient of the misfit has another shape than the images.
  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning) const {
    const auto record = inner_->record(x, sigma, places, conditioning, by_input);
    const Tensor slope = misfit_gradient_(record.denoised);
    if (Backend::shape(slope) != Backend::shape(x)) {
      refuse<ShapeError>("PosteriorDenoiser", "misfit_gradient", to_string(Backend::shape(x)),
                         to_string(Backend::shape(slope)));
    }
    std::vector<double> ones, weights;
    for (const double level : sigma) {
      ones.push_back(1);
      weights.push_back(-level * level / variance(level));
    }
    return Backend::combine(ones, record.denoised, weights, *inner_->backward(record, slope));
  }

  /// Of each value of the measurement about A(D), at a noise level.
  double variance(double sigma) const noexcept {
    const double share = sigma / std::hypot(sigma, options_.sigma_data) * options_.sigma_data;
    return options_.deviation * options_.deviation + options_.gain * share * share;
  }

  ImageShape image() const { return inner_->image(); }
  std::int64_t label_dim() const { return inner_->label_dim(); }
  bool null_label_trained() const { return patchdiff::null_label_trained(*inner_); }
  typename Backend::Device device() const { return inner_->device(); }

 private:
  Inner* inner_;
  MisfitGradient misfit_gradient_;
  PosteriorOptions options_;
};

}  // namespace patchdiff
