// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
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

/// The score of the noisy images' density, (D(x; sigma) - x) / sigma^2, for whole images and for patches alike.
///
/// Source: EDM (arXiv 2206.00364), equation 3.
template <Denoiser D>
typename D::Backend::Tensor score(const D& denoiser, const typename D::Backend::Tensor& x,
                                  std::span<const double> sigma, const Places& places,
                                  const Conditioning<typename D::Backend>& conditioning = {}) {
  const typename D::Backend::Tensor denoised = denoiser(x, sigma, places, conditioning);
  std::vector<double> plus, minus;
  for (const double level : sigma) {
    plus.push_back(1 / (level * level));
    minus.push_back(-1 / (level * level));
  }
  return D::Backend::combine(plus, denoised, minus, x);
}

}  // namespace patchdiff
