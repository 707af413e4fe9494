// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// Turns images into smaller latents and back: diffusion is then trained and sampled on latents.
///
/// Shapes: images [N, C, H, W] to latents [N, c, h, w] of `latent_shape(image)`, and back. Scale and shift of latents
/// are a Normalization, see `encode_dataset`. Source: Rombach et al. (arXiv 2112.10752), section 3.1.
template <class C>
concept Codec = Backend<typename C::Backend> &&
    requires(const C& codec, const typename C::Backend::Tensor& tensor, ImageShape image) {
  { codec.encode(tensor) } -> std::same_as<typename C::Backend::Tensor>;
  { codec.decode(tensor) } -> std::same_as<typename C::Backend::Tensor>;
  { codec.latent_shape(image) } -> std::same_as<ImageShape>;
  { codec.device() } -> std::same_as<typename C::Backend::Device>;
};

}  // namespace patchdiff
