// SPDX-License-Identifier: Apache-2.0
// Instructions of the neutral components on the Eigen backend, and of its network.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/eigen.hpp>

#include "count.hpp"

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

int main() {
  std::vector<float> numbers(3 * 32 * 32);
  const pd::RandomStream stream({1}, pd::Purpose::training_noise, 0, 0);
  count("normal_numbers", [&] { stream.normals(std::span(numbers)); });

  const pd::ImageSize image{32, 32};
  const std::vector<float> pixels(8 * 3 * 32 * 32, 0.5F);
  const pd::ImageBatch<B> batch{.images = B::from_host(std::span(pixels), {8, 3, 32, 32}, {})};
  const pd::PatchPlan plan{.patch = {16, 16}, .images = 8, .key = {1}};
  const pd::PatchSampler<B> sampler;
  const pd::Places places = sampler.places(plan, image, 8);
  count("places", [&] { sampler.places(plan, image, 8); });
  count("crop", [&] { sampler(batch, places); });
  const pd::CoordEncoder<B> encoder(image);
  count("coordinates", [&] { encoder(places, {}); });
  const pd::CoordEncoder<B> fourier(image, {.fourier_frequencies = 4});
  count("fourier_coordinates", [&] { fourier(places, {}); });

  pd::DenoiserWrapper denoiser{pd::SmallUNet<float>({.in_channels = 5, .out_channels = 3, .model_channels = 8}),
                               {.image = {3, 32, 32}}};
  const pd::TrainStep<B> step(
      {.schedule = pd::PatchSizeSchedule::stochastic_of({.image = image, .sizes = {{16, 16}}}), .batch = 2});
  pd::TrainState state{.seed = 1};
  count("plan", [&] { step.plan(state); });
  pd::Adam<B> adam;
  pd::EMA<B> average(denoiser);
  const B::Tensor finite = B::finite_flag({});
  count("adam", [&] { adam.step(denoiser, finite); });
  count("average", [&] { average.blend(denoiser, 0.5); });

  const pd::ImageBatch<B> images{.images = B::slice(batch.images, 0, 0, step.plan(state).images)};
  count("train_step", [&] { step(denoiser, adam, images, step.plan(state), state); });
  const pd::SampleRequest<B> request{.seeds = {1}};
  count("heun", [&] { pd::ODESampler({.num_steps = 2})(denoiser, request); });
}
