// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// Any denoiser of a backend behind one virtual call, so that a program compiles each sampler once.
template <Backend B>
class AnyDenoiser {
 public:
  using Backend = B;
  using Tensor = typename B::Tensor;

  /// Takes the denoiser over; copies of the AnyDenoiser share it.
  template <Denoiser D>
  explicit AnyDenoiser(D denoiser) : held_(std::make_shared<const Holder<D>>(std::move(denoiser))) {}

  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<B>& conditioning) const {
    return held_->denoise(x, sigma, places, conditioning);
  }

  ImageShape image() const { return held_->image(); }
  std::int64_t label_dim() const { return held_->label_dim(); }
  typename B::Device device() const { return held_->device(); }
  bool null_label_trained() const { return held_->null_label_trained(); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual Tensor denoise(const Tensor& x, std::span<const double> sigma, const Places& places,
                           const Conditioning<B>& conditioning) const = 0;
    virtual ImageShape image() const = 0;
    virtual std::int64_t label_dim() const = 0;
    virtual typename B::Device device() const = 0;
    virtual bool null_label_trained() const = 0;
  };

  template <class D>
  struct Holder final : Interface {
    explicit Holder(D denoiser) : inner(std::move(denoiser)) {}
    Tensor denoise(const Tensor& x, std::span<const double> sigma, const Places& places,
                   const Conditioning<B>& conditioning) const override {
      return inner(x, sigma, places, conditioning);
    }
    ImageShape image() const override { return inner.image(); }
    std::int64_t label_dim() const override { return inner.label_dim(); }
    typename B::Device device() const override { return inner.device(); }
    bool null_label_trained() const override { return patchdiff::null_label_trained(inner); }
    D inner;
  };

  std::shared_ptr<const Interface> held_;
};

}  // namespace patchdiff
