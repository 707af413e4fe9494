// SPDX-License-Identifier: Apache-2.0
// The components on a backend beside the same ones on plain vectors of double; part of conformance/suite.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/training_noise.hpp>
#include <patchdiff/patch/coord_encoder.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/sampling/pixel_noise.hpp>

#include "conformance/primitives.hpp"
#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/tensors.hpp"

namespace patchdiff::conformance {

using Reference = host::SpanBackend<double>;

/// Draws are the same numbers on every backend, rounded to its scalar type: bit for bit.
template <class Fixture>
void same_draws() {
  using B = typename Fixture::Backend;
  const PatchPlan plan{.patch = {2, 3}, .images = 4, .step = 5, .key = {6}};
  CHECK(B::to_host(training_noise<B>(plan, 1, {3, 2, 2, 3}, Fixture::device())) ==
        Reference::to_host(training_noise<Reference>(plan, 1, {3, 2, 2, 3}, {})));
  CHECK(PatchSampler<B>{}.places(plan, {9, 8}, 4) == PatchSampler<Reference>{}.places(plan, {9, 8}, 4));
  CHECK(EDMLoss<B>{}.draw_sigma(EDM{}, plan, 4) == EDMLoss<Reference>{}.draw_sigma(EDM{}, plan, 4));
  const std::vector<std::uint64_t> seeds{1, 2};
  for (const ImageShape image : {ImageShape{2, 4, 3}, ImageShape{1, 1 << 20, 1 << 20}}) {
    const Window window{image.height - 2, image.width - 3, 2, 3};
    CHECK(B::Wide::to_host(pixel_noise<typename B::Wide>(seeds, Purpose::initial_noise, 0, 0, image, window,
                                                         B::wide_device(Fixture::device()))) ==
          Reference::to_host(pixel_noise<Reference>(seeds, Purpose::initial_noise, 0, 0, image, window, {})));
  }
}

/// Everything that the components compute on the way of one step, forward and backward, as numbers of the host.
template <Backend B>
std::vector<Values> component_values(typename B::Device device) {
  using Tensor = typename B::Tensor;
  const auto random = [&](const Shape& shape, std::uint64_t seed) { return random_tensor<B>(shape, seed, device); };
  std::vector<Values> all;
  const auto keep = [&](const Tensor& x) { all.push_back(B::to_host(x)); };

  const ImageShape image{2, 6, 7};
  const Places places{{4, 3}, {Place::at(-1, 5), Place::at(2, 0), Place::at(3, -1)}};
  const ImageBatch<B> batch{
      .images = random({3, 2, 6, 7}, 1), .mask = random({3, 1, 6, 7}, 2), .fields = random({3, 1, 6, 7}, 3)};
  const PatchBatch<B> patches = PatchSampler<B>(1)(batch, places);
  keep(patches.images);
  keep(*patches.mask);
  keep(*patches.fields);

  ImageBatch<B> augmented = batch;
  augmented.maps = {PixelMap::mirrored(7), {0.8, 0.6, -1, -0.6, 0.8, 2}, {}};
  keep(CoordEncoder<B>(image.size())(PatchSampler<B>(1)(augmented, places).places, device));

  CoordOptions coords{.padding = 1};
  for (const std::int64_t frequencies : {0, 1, 3}) {
    for (const bool octaves : {true, false}) {
      coords.fourier_frequencies = frequencies;
      coords.fourier_octaves = octaves;
      coords.patch_size_channel = !octaves;
      keep(CoordEncoder<B>(image.size(), coords)(places, device));
    }
  }

  const std::vector<double> sigma{0.3, 1, 20};
  const Conditioning<B> conditioning{.class_labels = random({3, 2}, 4), .fields = patches.fields};
  for (const std::int64_t output_channels : {2, 15}) {
    DenoiserWrapper denoiser{
        host::PixelwiseNetwork<B>({.in_channels = 2 + 13 + 1, .out_channels = output_channels, .label_dim = 2}, {1},
                                  device),
        {.image = image, .coords = coords}};
    keep(denoiser(patches.images, sigma, places, conditioning));
    const auto record = denoiser.record(patches.images, sigma, places, conditioning, {.input_gradient = true});
    keep(record.denoised);
    for (const Reduction reduction : {Reduction::sum, Reduction::mean}) {
      for (const std::optional<Tensor>& mask : {std::optional<Tensor>{}, patches.mask}) {
        const EDMLoss<B> loss({.reduction = reduction});
        const LossValue<B> value = loss(denoiser.formulation(), record.denoised, patches.images, sigma, mask);
        keep(value.per_sample);
        keep(value.gradient);
        keep(loss.pixel_losses(denoiser.formulation(), record.denoised, patches.images, sigma, mask));
        keep(*denoiser.backward(record, value.gradient, 0.5));
      }
    }
    denoiser.visit_parameters([&](std::string_view, Tensor&, Tensor& gradient) { keep(gradient); });
  }
  return all;
}

template <class Fixture>
void same_components() {
  const std::vector<Values> expected = component_values<Reference>({});
  const std::vector<Values> got = component_values<typename Fixture::Backend>(Fixture::device());
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    check_close(got[i], expected[i], 10 * Fixture::rounding);
  }
}

}  // namespace patchdiff::conformance
