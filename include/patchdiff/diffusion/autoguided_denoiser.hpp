// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/guidance_scale.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// Guidance by a weaker model of the same images, as a denoiser around two: D = D_weak + guidance_scale (D - D_weak).
///
/// The weaker one is smaller or less trained; it gets the same conditioning, and needs no labels. Where no sample is
/// guided, `weak` is not called. Keeps references: both denoisers must outlive it.
/// Source: Karras et al., Guiding a diffusion model with a bad version of itself (arXiv 2406.02507).
template <Denoiser Inner, Denoiser Weak = Inner>
class AutoguidedDenoiser {
 public:
  using Backend = typename Inner::Backend;
  using Tensor = typename Backend::Tensor;

  /// Errors: ConfigError for denoisers of other images, labels or devices, a scale that is not finite, or an interval
  /// without levels.
  explicit AutoguidedDenoiser(Inner& inner, Weak& weak, double guidance_scale, GuidanceInterval interval = {})
      : inner_(&inner), weak_(&weak), scale_("AutoguidedDenoiser", guidance_scale, interval) {
    constexpr std::string_view component = "AutoguidedDenoiser";
    const ImageShape image = inner.image(), other = ImageShape(weak.image());
    require<ConfigError>(image == other, component, "weak", "images of " + to_string(image), to_string(other));
    require<ConfigError>(inner.label_dim() == weak.label_dim(), component, "weak", str("label_dim ", inner.label_dim()),
                         weak.label_dim());
    require<ConfigError>(inner.device() == weak.device(), component, "weak", Backend::device_name(inner.device()),
                         Backend::device_name(weak.device()));
  }

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning) const {
    Tensor denoised = (*inner_)(x, sigma, places, conditioning);
    const std::vector<double> scales = scale_(sigma);
    if (scales.empty()) return denoised;
    return Backend::combine(scales, denoised, opposite(scales), (*weak_)(x, sigma, places, conditioning));
  }

  ImageShape image() const { return inner_->image(); }
  std::int64_t label_dim() const { return inner_->label_dim(); }
  bool null_label_trained() const { return patchdiff::null_label_trained(*inner_); }
  typename Backend::Device device() const { return inner_->device(); }

 private:
  Inner* inner_;
  Weak* weak_;
  GuidanceScale scale_;
};

}  // namespace patchdiff
