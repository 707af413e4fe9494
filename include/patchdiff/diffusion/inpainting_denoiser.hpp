// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// Fills in images of which a part is known: there the estimate is the known image, elsewhere the inner denoiser's.
///
/// Any solver then takes the known part from noise to its values, with the noise of each level on the way: this is the
/// replacement method. It is exact where known and unknown pixels are independent, else an approximation, as nothing
/// tells earlier steps what the known part will be; PosteriorDenoiser does, for the price of a backward pass.
/// Keeps a reference: the inner denoiser must outlive it.
/// Source: SDE (arXiv 2011.13456), appendix I.2.
template <Denoiser Inner>
class InpaintingDenoiser {
 public:
  using Backend = typename Inner::Backend;
  using Tensor = typename Backend::Tensor;

  /// Shapes: known [N, C, h, w], the batch that will be denoised; mask [N, 1, h, w] or [N, C, h, w], 1 where known,
  /// else 0. Values of `known` must be finite where the mask is 0 too: they are multiplied by it.
  /// Errors: ShapeError for shapes that do not fit.
  InpaintingDenoiser(const Inner& inner, const Tensor& known, const Tensor& mask) : inner_(&inner), mask_(mask) {
    const Shape shape = Backend::shape(known);
    if (shape.size() != 4 || shape[1] != inner.image().channels) {
      refuse<ShapeError>("InpaintingDenoiser", "known", str("[N, ", inner.image().channels, ", h, w]"),
                         to_string(shape));
    }
    known_ = Backend::multiply(known, mask);
  }
  InpaintingDenoiser(const Inner&&, const Tensor&, const Tensor&) = delete;

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning) const {
    const Tensor denoised = (*inner_)(x, sigma, places, conditioning);
    if (Backend::shape(denoised) != Backend::shape(known_)) {
      refuse<ShapeError>("InpaintingDenoiser", "x", to_string(Backend::shape(known_)), to_string(Backend::shape(x)));
    }
    const Tensor unknown = linear<Backend>(1, denoised, -1, Backend::multiply(denoised, mask_));
    return linear<Backend>(1, unknown, 1, known_);
  }

  ImageShape image() const { return inner_->image(); }
  std::int64_t label_dim() const { return inner_->label_dim(); }
  bool null_label_trained() const { return patchdiff::null_label_trained(*inner_); }
  typename Backend::Device device() const { return inner_->device(); }

 private:
  const Inner* inner_;
  Tensor mask_;
  Tensor known_;
};

}  // namespace patchdiff
