// SPDX-License-Identifier: Apache-2.0
// What docs/components.md shows: each component alone, as a host's own training loop puts them together.

#include "support/catch.hpp"

#include <cstdint>
#include <utility>
#include <vector>

#include <patchdiff/eigen.hpp>

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

TEST_CASE("the guide's components work together") {
  const B::Tensor images = B::from_host(std::vector<float>(8 * 16 * 16, 0.25f), {8, 1, 16, 16}, {});

  const auto schedule = pd::PatchSizeSchedule::stochastic({.image = {16, 16}, .full_image_probability = 0.5});
  pd::TrainState state{.seed = 1};
  const pd::PatchPlan plan = schedule.plan(state, 8);  // patch size and number of images of this step

  const pd::PatchSampler<B> crop;
  const std::int64_t count = B::shape(images)[0];
  const pd::Places places = crop.places(plan, {16, 16}, count);
  const pd::PatchBatch<B> patches = crop({.images = images}, places);

  const pd::CoordEncoder<B> encode({16, 16});
  const B::Tensor coordinates = encode(places, {});  // [8, 2, h, w]: x, then y

  pd::SmallUNet<float> network({.in_channels = 1 + 2, .out_channels = 1, .model_channels = 8, .channel_mult = {1}},
                               {1});
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {1, 16, 16}, .formulation = pd::EDM{.sigma_data = 0.5}}};
  const std::vector<double> levels(8, 0.7);
  const B::Tensor denoised = denoiser(patches.images, levels, patches.places);

  const pd::EDMLoss<B> loss{{.reduction = pd::Reduction::mean}};
  const std::vector<double> sigma = loss.draw_sigma(denoiser.formulation(), plan, count);
  const B::Tensor noise = pd::training_noise<B>(plan, 0, B::shape(patches.images), {});
  const B::Tensor noisy = B::combine(std::vector<double>(sigma.size(), 1), patches.images, sigma, noise);
  const auto record = denoiser.record(noisy, sigma, patches.places, {}, {.training = true});
  const auto value = loss(denoiser.formulation(), record.denoised, patches.images, sigma);
  denoiser.backward(record, value.gradient, 1.0 / static_cast<double>(plan.images));

  const pd::ODESampler<pd::Heun> sampler{{.num_steps = 18, .schedule = pd::SigmaSchedule::edm()}};
  const B::Wide::Tensor samples = sampler(denoiser, {.seeds = pd::seed_range(7, 4)});
  const B::Wide::Tensor corner = sampler(denoiser, {.seeds = {7}, .window = pd::Window{0, 0, 8, 8}});

  CHECK(B::shape(patches.images) == pd::Shape{8, 1, plan.patch.height, plan.patch.width});
  CHECK(B::shape(coordinates) == pd::Shape{8, 2, plan.patch.height, plan.patch.width});
  CHECK(B::shape(denoised) == B::shape(patches.images));
  CHECK(value.per_sample.shape() == pd::Shape{8});
  CHECK(B::Wide::shape(samples) == pd::Shape{4, 1, 16, 16});
  CHECK(B::Wide::shape(corner) == pd::Shape{1, 1, 8, 8});
}
