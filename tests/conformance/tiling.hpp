// SPDX-License-Identifier: Apache-2.0
// Windows that are fused beside the whole image at once; part of conformance/suite.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/tiled_denoiser.hpp>

#include "conformance/primitives.hpp"
#include "custom_backend/pixelwise_network.hpp"
#include "support/tensors.hpp"

namespace patchdiff::conformance {

/// A denoiser of each pixel alone that sees its coordinates, a field and labels.
template <Backend B>
auto pixelwise_denoiser(ImageShape image, typename B::Device device) {
  return DenoiserWrapper{
      host::PixelwiseNetwork<B>({.in_channels = image.channels + 3, .out_channels = image.channels, .label_dim = 2},
                                {1}, device),
      {.image = image}};
}

/// Fused windows are the whole image where the denoiser is local, for every overlap and uneven size; and chunks of
/// windows are all of them at once, bit for bit.
template <class Fixture>
void fused_windows() {
  using B = typename Fixture::Backend;
  for (const ImageShape image : {ImageShape{1, 5, 11}, ImageShape{2, 8, 8}, ImageShape{1, 4, 13}}) {
    const auto denoiser = pixelwise_denoiser<B>(image, Fixture::device());
    const Shape shape{2, image.channels, image.height, image.width};
    const auto x = random_tensor<B>(shape, 1, Fixture::device());
    const Conditioning<B> conditioning{
        .class_labels = random_tensor<B>({2, 2}, 2, Fixture::device()),
        .fields = random_tensor<B>({2, 1, image.height, image.width}, 3, Fixture::device())};
    const std::vector<double> sigma{0.7, 2};
    const Places places = Places::whole(image.size(), 2);
    const Values whole = B::to_host(denoiser(x, sigma, places, conditioning));
    for (const Fusion fusion : {Fusion::uniform, Fusion::feathered, Fusion::shifted}) {
      for (std::int64_t overlap = 0; overlap < (fusion == Fusion::shifted ? 1 : 4); ++overlap) {
        CAPTURE(to_string(image), name_of(fusion), overlap);
        const auto fused = [&](std::int64_t chunk) {
          const TiledDenoiser tiled(
              denoiser, {.window = {4, 5}, .overlap = overlap, .fusion = fusion, .chunk = chunk, .seed = 4});
          return B::to_host(tiled(x, sigma, places, conditioning));
        };
        const Values all_at_once = fused(1000);
        check_close(all_at_once, whole, 10 * Fixture::rounding);
        for (const std::int64_t chunk : {1, 3}) CHECK(fused(chunk) == all_at_once);
      }
    }
  }
}

/// A window is drawn as that part of the whole image where the denoiser is local, tiled or not.
template <class Fixture>
void windows_of_samples() {
  using B = typename Fixture::Backend;
  const ImageShape image{1, 9, 10};
  const DenoiserWrapper denoiser{host::PixelwiseNetwork<B>({.in_channels = 3}, {1}, Fixture::device()),
                                 {.image = image}};
  const ODESampler sampler({.num_steps = 3}, Churn({.s_churn = 1}));
  const auto whole = sampler(denoiser, {.seeds = {1, 2}});
  for (const Window window : {Window{0, 0, 4, 5}, Window{3, 2, 6, 8}}) {
    const Values expected =
        B::Wide::to_host(B::Wide::crop(whole, Places::repeated(window.size(), Place::at(window.top, window.left), 2)));
    check_close(B::Wide::to_host(sampler(denoiser, {.seeds = {1, 2}, .window = window})), expected,
                10 * Fixture::rounding);
    const TiledDenoiser tiled(denoiser, {.window = {3, 4}, .overlap = 1, .chunk = 2});
    check_close(B::Wide::to_host(sampler(tiled, {.seeds = {1, 2}, .window = window})), expected,
                Fixture::trajectory_tolerance);
  }
}

}  // namespace patchdiff::conformance
