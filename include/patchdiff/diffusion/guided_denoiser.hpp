// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/differentiable_denoiser.hpp>
#include <patchdiff/diffusion/guidance_scale.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// Classifier-free guidance as a denoiser around a denoiser: D = D_null + guidance_scale (D_labels - D_null).
///
/// The null label is a row of zeros; both terms come from one call with twice the batch. A scale of 1 is no guidance,
/// as are noise levels outside the interval: where no sample is guided, it costs one plain call. Keeps a reference: the
/// inner denoiser must outlive it.
/// Source: Patch Diffusion's and EDM2's convention; Ho and Salimans (arXiv 2207.12598) write w = guidance_scale - 1.
template <Denoiser Inner>
class GuidedDenoiser {
 public:
  using Backend = typename Inner::Backend;
  using Tensor = typename Backend::Tensor;

  /// Warns in the log of a null label that was never trained: such guidance leads away from an arbitrary estimate.
  ///
  /// Errors: ConfigError for a denoiser without labels, a scale that is not finite, or an interval without levels.
  explicit GuidedDenoiser(Inner& inner, double guidance_scale, GuidanceInterval interval = {}, const Log& log = {})
      : inner_(&inner), scale_("GuidedDenoiser", guidance_scale, interval) {
    require<ConfigError>(inner.label_dim() >= 1, "GuidedDenoiser", "inner", "a denoiser with class labels",
                         "label_dim 0");
    if (log && guidance_scale != 1 && !patchdiff::null_label_trained(inner)) {
      log("GuidedDenoiser: inner: expected a null label trained by label dropout, got one that was never trained");
    }
  }

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning) const {
    const std::vector<double> scales = scales_of(sigma, conditioning);
    if (scales.empty()) return (*inner_)(x, sigma, places, conditioning);
    const Twice twice(x, sigma, places, conditioning);
    return mixed((*inner_)(twice.x, twice.sigma, twice.places, twice.conditioning), scales);
  }

  /// What `backward` needs; the pass reaches the inner denoiser.
  auto record(const Tensor& x, std::span<const double> sigma, const Places& places,
              const Conditioning<Backend>& conditioning, const Pass& pass) requires DifferentiableDenoiser<Inner> {
    std::vector<double> scales = scales_of(sigma, conditioning);
    if (scales.empty()) {
      auto inner = inner_->record(x, sigma, places, conditioning, pass);
      return Record<decltype(inner)>{inner.denoised, std::move(inner), {}};
    }
    const Twice twice(x, sigma, places, conditioning);
    auto inner = inner_->record(twice.x, twice.sigma, twice.places, twice.conditioning, pass);
    Tensor denoised = mixed(inner.denoised, scales);
    return Record<decltype(inner)>{std::move(denoised), std::move(inner), std::move(scales)};
  }

  /// The gradient of <denoised, cotangent> by x.
  template <class R>
    requires DifferentiableDenoiser<Inner> std::optional<Tensor> backward(const R& record, const Tensor& cotangent) {
      if (record.scales.empty()) return inner_->backward(record.inner, cotangent);
      const std::optional<Tensor> both =
          inner_->backward(record.inner, Backend::concat(std::array{Backend::scale(record.scales, cotangent),
                                                                    Backend::scale(opposite(record.scales), cotangent)},
                                                         0));
      if (!both) return std::nullopt;
      const auto count = static_cast<std::int64_t>(record.scales.size());
      return linear<Backend>(1, Backend::slice(*both, 0, 0, count), 1, Backend::slice(*both, 0, count, count));
    }

  ImageShape image() const { return inner_->image(); }
  std::int64_t label_dim() const { return inner_->label_dim(); }
  bool null_label_trained() const { return patchdiff::null_label_trained(*inner_); }
  typename Backend::Device device() const { return inner_->device(); }

 private:
  template <class InnerRecord>
  struct Record {
    Tensor denoised;
    InnerRecord inner;
    std::vector<double> scales;
  };

  /// The batch with its labels, then without.
  struct Twice {
    Twice(const Tensor& once, std::span<const double> levels, const Places& at, const Conditioning<Backend>& labelled)
        : x(Backend::concat(std::array{once, once}, 0)),
          sigma(levels.begin(), levels.end()),
          places(at),
          conditioning(Conditioning<Backend>::concat(labelled, labelled.without_labels())) {
      sigma.insert(sigma.end(), levels.begin(), levels.end());
      places.at.insert(places.at.end(), at.at.begin(), at.at.end());
    }
    Tensor x;
    std::vector<double> sigma;
    Places places;
    Conditioning<Backend> conditioning;
  };

  std::vector<double> scales_of(std::span<const double> sigma, const Conditioning<Backend>& conditioning) const {
    if (!conditioning.class_labels) {
      refuse<ShapeError>("GuidedDenoiser", "class_labels", "labels to guide towards", "none");
    }
    return scale_(sigma);
  }

  static Tensor mixed(const Tensor& denoised, std::span<const double> scales) {
    const auto count = static_cast<std::int64_t>(scales.size());
    return Backend::combine(scales, Backend::slice(denoised, 0, 0, count), opposite(scales),
                            Backend::slice(denoised, 0, count, count));
  }

  Inner* inner_;
  GuidanceScale scale_;
};

}  // namespace patchdiff
