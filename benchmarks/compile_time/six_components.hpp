// SPDX-License-Identifier: Apache-2.0
// The six components on a backend, around a network of the host's own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/patch/coord_encoder.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

namespace pd = patchdiff;

template <class B>
struct ImageChannels {
  using Backend = B;
  typename B::Tensor operator()(const typename B::Tensor& input, std::span<const double>, const pd::Conditioning<B>&,
                                const pd::Pass&) const {
    return B::slice(input, 1, 0, 3);
  }
  std::int64_t input_channels() const { return 5; }
  std::int64_t output_channels() const { return 3; }
  std::int64_t label_dim() const { return 0; }
  std::int64_t size_divisor() const { return 1; }
  typename B::Device device() const { return {}; }
};

template <class B>
double used() {
  const pd::ImageSize image{32, 32};
  const auto schedule = pd::PatchSizeSchedule::stochastic({.image = image});
  const pd::PatchPlan plan = schedule.plan({}, 4);
  const pd::PatchSampler<B> sampler;
  const pd::ImageBatch<B> batch{.images = B::zeros({plan.images, 3, 32, 32}, {})};
  const auto patches = sampler(batch, sampler.places(plan, image, plan.images));
  const auto coordinates = pd::CoordEncoder<B>(image)(patches.places, {});
  const pd::DenoiserWrapper denoiser{ImageChannels<B>{}, {.image = {3, 32, 32}}};
  const pd::EDMLoss<B> loss;
  const std::vector<double> sigma(static_cast<std::size_t>(plan.images), 1.0);
  const auto denoised = denoiser(patches.images, sigma, patches.places);
  const auto value = loss(denoiser.formulation(), denoised, patches.images, sigma, {});
  const pd::SampleRequest<B> request{.seeds = {1}};
  const auto sample = pd::ODESampler({.num_steps = 2}, pd::Heun{})(denoiser, request);
  return B::to_host(value.per_sample)[0] + B::to_host(coordinates)[0] + B::to_host(B::narrow(sample, {}))[0];
}
