// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/noise_level.hpp>
#include <patchdiff/diffusion/prediction.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// D(x; sigma, places, conditioning), the estimate of the clean images behind noisy ones; calls are const.
///
/// Shapes: x and the result [N, C, h, w] with C channels as in `image()`; one sigma > 0 and one place per sample.
template <class D>
concept Denoiser = Backend<typename D::Backend> &&
    requires(const D& denoiser, const typename D::Backend::Tensor& x, std::span<const double> sigma,
             const Places& places, const Conditioning<typename D::Backend>& conditioning) {
  { denoiser(x, sigma, places, conditioning) } -> std::same_as<typename D::Backend::Tensor>;
  { denoiser.image() } -> std::convertible_to<ImageShape>;
  { denoiser.label_dim() } -> std::convertible_to<std::int64_t>;
  { denoiser.device() } -> std::same_as<typename D::Backend::Device>;
};

/// Whether the denoiser's null label, a row of zeros, was trained; one that does not say is taken to be.
template <Denoiser D>
bool null_label_trained(const D& denoiser) {
  if constexpr (requires { denoiser.null_label_trained(); }) {
    return denoiser.null_label_trained();
  } else {
    return true;
  }
}

/// The score of unscaled noisy images, the gradient (D(x; sigma) - x) / sigma^2 of their log density; patches too.
///
/// Source: EDM (arXiv 2206.00364), equation 3.
template <Denoiser D>
typename D::Backend::Tensor score(const D& denoiser, const typename D::Backend::Tensor& x,
                                  std::span<const double> sigma, const Places& places,
                                  const Conditioning<typename D::Backend>& conditioning = {}) {
  std::vector<NoiseLevel> levels;
  for (const double level : sigma) levels.push_back({.sigma = level});
  return convert_prediction<typename D::Backend>(denoiser(x, sigma, places, conditioning), Prediction::denoised,
                                                 Prediction::score, x, levels);
}

/// The score of scaled noisy images x = scale (x0 + sigma n): (D(x / scale; sigma) - x / scale) / (scale sigma^2).
template <Denoiser D>
typename D::Backend::Tensor score(const D& denoiser, const typename D::Backend::Tensor& x,
                                  std::span<const NoiseLevel> levels, const Places& places,
                                  const Conditioning<typename D::Backend>& conditioning = {}) {
  using B = typename D::Backend;
  std::vector<double> unscale, sigma;
  for (const NoiseLevel& level : levels) {
    unscale.push_back(1 / level.scale);
    sigma.push_back(level.sigma);
  }
  return convert_prediction<B>(denoiser(B::scale(unscale, x), sigma, places, conditioning), Prediction::denoised,
                               Prediction::score, x, levels);
}

}  // namespace patchdiff
