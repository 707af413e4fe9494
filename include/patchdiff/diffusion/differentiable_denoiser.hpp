// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <optional>
#include <span>

#include <patchdiff/core/places.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// A denoiser that gives vector-Jacobian products too: `backward(record, v)` is J^T v with J = dD/dx, where the pass
/// asked for the gradient of the input. Both may write into the denoiser: not safe from many threads.
template <class D>
concept DifferentiableDenoiser = Denoiser<D> &&
    requires(D& denoiser, const typename D::Backend::Tensor& x, std::span<const double> sigma, const Places& places,
             const Conditioning<typename D::Backend>& conditioning, const Pass& pass) {
  {
    denoiser.record(x, sigma, places, conditioning, pass).denoised
    } -> std::convertible_to<typename D::Backend::Tensor>;
  {
    denoiser.backward(denoiser.record(x, sigma, places, conditioning, pass), x)
    } -> std::same_as<std::optional<typename D::Backend::Tensor>>;
};

/// The pass of a record that is made for `backward` by x alone: it leaves the parameters' gradients as they are, and
/// serves any number of calls of `backward`.
inline constexpr Pass by_input{.input_gradient = true, .parameter_gradients = false};

}  // namespace patchdiff
