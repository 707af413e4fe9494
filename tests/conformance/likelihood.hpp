// SPDX-License-Identifier: Apache-2.0
// Log densities and what else needs the gradient of a denoiser by its input, on a backend beside plain vectors of
// double; part of conformance/suite.hpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/backend/operations.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/diffusion/posterior_denoiser.hpp>
#include <patchdiff/sampling/likelihood.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

#include "conformance/components.hpp"
#include "conformance/primitives.hpp"
#include "custom_backend/pixelwise_network.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/tensors.hpp"

namespace patchdiff::conformance {

/// What a model with labels says of two patches, and a posterior sample of it.
template <Backend B>
std::vector<Values> of_input_gradients(typename B::Device device) {
  using Wide = typename B::Wide;
  DenoiserWrapper denoiser{
      host::PixelwiseNetwork<B>({.in_channels = 4, .out_channels = 2, .label_dim = 2}, {1}, device),
      {.image = {2, 3, 4}}};
  const Conditioning<B> labels{.class_labels = random_tensor<B>({2, 2}, 2, device)};
  const Places places{{2, 2}, {Place::at(0, 1), Place::at(1, 2)}};
  const auto images = random_tensor<Wide>({2, 2, 2, 2}, 3, B::wide_device(device));
  std::vector<Values> all;
  for (const std::int64_t probes : {exact_trace, std::int64_t{2}}) {
    const Likelihood likelihood({.flow = {.tolerance = {1e-4, 1e-4}}, .probes = probes});
    const LogLikelihoods<B> found = likelihood(denoiser, images, places, labels);
    all.push_back(found.nats);
    all.push_back(found.standard_error);
    all.push_back(Wide::to_host(found.noise));
  }
  GuidedDenoiser guided(denoiser, 2);
  const auto measured = random_tensor<B>({2, 2, 3, 4}, 4, device);
  const PosteriorDenoiser posterior(guided, [&](const typename B::Tensor& x) { return linear<B>(1, x, -1, measured); });
  all.push_back(Wide::to_host(ODESampler({.num_steps = 5})(posterior, {.seeds = {1, 2}, .conditioning = labels})));
  return all;
}

template <class Fixture>
void same_input_gradients() {
  using B = typename Fixture::Backend;
  const std::vector<Values> got = of_input_gradients<B>(Fixture::device());
  const std::vector<Values> expected = of_input_gradients<Reference>({});
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    check_close(got[i], expected[i], Fixture::trajectory_tolerance);
  }
}

/// The exact trace gives the exact density of Gaussian images.
template <class Fixture>
void exact_likelihood() {
  using B = typename Fixture::Backend;
  using Wide = typename B::Wide;
  GaussianDenoiser<B> denoiser{.shape = {1, 2, 3}, .deviation = 0.7, .on = Fixture::device()};
  const auto images = random_tensor<Wide>({2, 1, 2, 3}, 1, B::wide_device(Fixture::device()));
  const Values values = Wide::to_host(images);
  Values exact(2);
  for (std::size_t i = 0; i < values.size(); ++i) exact[i / 6] += denoiser.log_density(values[i], 0.002);
  const Values found = Likelihood({.probes = exact_trace})(denoiser, images, Places::whole({2, 3}, 2)).nats;
  for (const std::size_t n : {0U, 1U}) CHECK(std::abs(found[n] - exact[n]) < 6 * 1e-3);
}

}  // namespace patchdiff::conformance
