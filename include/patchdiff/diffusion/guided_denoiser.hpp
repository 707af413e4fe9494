// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// Classifier-free guidance as a denoiser around a denoiser: D = D_null + guidance_scale (D_labels - D_null).
///
/// The null label is a row of zeros; both terms come from one call with twice the batch. A scale of 1 is no guidance,
/// and costs one plain call. Keeps a reference: the inner denoiser must outlive it.
/// Source: Patch Diffusion's and EDM2's convention; Ho and Salimans (arXiv 2207.12598) write w = guidance_scale - 1.
template <Denoiser Inner>
class GuidedDenoiser {
 public:
  using Backend = typename Inner::Backend;
  using Tensor = typename Backend::Tensor;

  /// Errors: ConfigError for a denoiser without labels, or a scale that is not finite.
  GuidedDenoiser(const Inner& inner, double guidance_scale) : inner_(&inner), guidance_scale_(guidance_scale) {
    if (inner.label_dim() < 1) {
      throw ConfigError("GuidedDenoiser", "inner", "a denoiser with class labels", "label_dim 0");
    }
    if (!std::isfinite(guidance_scale)) {
      throw ConfigError("GuidedDenoiser", "guidance_scale", "a finite value", fmt::format("{}", guidance_scale));
    }
  }
  GuidedDenoiser(const Inner&&, double) = delete;

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning) const {
    if (!conditioning.class_labels) {
      throw ShapeError("GuidedDenoiser", "class_labels", "labels to guide towards", "none");
    }
    if (guidance_scale_ == 1) return (*inner_)(x, sigma, places, conditioning);
    std::vector<double> sigmas(sigma.begin(), sigma.end());
    sigmas.insert(sigmas.end(), sigma.begin(), sigma.end());
    Places both = places;
    both.at.insert(both.at.end(), places.at.begin(), places.at.end());
    const Tensor denoised = (*inner_)(Backend::concat(std::array{x, x}, 0), sigmas, both,
                                      Conditioning<Backend>::concat(conditioning, conditioning.without_labels()));
    const auto count = static_cast<std::int64_t>(sigma.size());
    const std::vector<double> labelled(sigma.size(), guidance_scale_);
    const std::vector<double> null(sigma.size(), 1 - guidance_scale_);
    return Backend::combine(labelled, Backend::slice(denoised, 0, 0, count), null,
                            Backend::slice(denoised, 0, count, count));
  }

  ImageShape image() const { return inner_->image(); }
  std::int64_t label_dim() const { return inner_->label_dim(); }
  typename Backend::Device device() const { return inner_->device(); }

 private:
  const Inner* inner_;
  double guidance_scale_;
};

}  // namespace patchdiff
