// SPDX-License-Identifier: Apache-2.0
// A host's own training loop: its data, its optimiser settings, its stop condition. README.md shows it.

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include <ATen/ops/linspace.h>
#include <ATen/ops/rand.h>

#include <patchdiff/torch.hpp>

namespace pd = patchdiff;
using B = pd::TorchBackend;

/// Stands for the host's images: discs of random place and size, [N, 3, 64, 64] in [-1, 1].
at::Tensor my_images(const pd::PatchPlan& plan) {
  const at::Tensor axis = at::linspace(-1, 1, 64);
  const at::Tensor centre = at::rand({plan.images, 2, 1, 1}) * 1.2 - 0.6;
  const at::Tensor radius = at::rand({plan.images, 1, 1}) * 0.3 + 0.1;
  const at::Tensor distance =
      ((axis.view({1, 1, 64}) - centre.select(1, 0)).square() + (axis.view({1, 64, 1}) - centre.select(1, 1)).square())
          .sqrt();
  return ((radius - distance) * 20).tanh().unsqueeze(1).repeat({1, 3, 1, 1});
}

int main(int argc, char** argv) {
  const std::uint64_t total = argc > 1 ? std::stoull(argv[1]) : 200;

  pd::SongUNet network({.image = {64, 64},
                        .in_channels = 3 + 2,
                        .out_channels = 3,
                        .model_channels = 32,
                        .channel_mult = {1, 2, 2},
                        .num_blocks = 1,
                        .attn_resolutions = {16}});
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {3, 64, 64}, .formulation = pd::EDM{.sigma_data = 0.5}}};

  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic({.image = {64, 64}, .full_image_probability = 0.5}), .batch = 8}};
  pd::Adam<B> optimizer{{.learning_rate = 1e-3}};
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = 1};  // seed, step, images, patches, pixels: all there is to resume

  while (state.images < total) {
    const pd::PatchPlan plan = step.plan(state);  // patch size, images to take, random key
    const auto report = step(denoiser, optimizer, {.images = my_images(plan)}, plan, state);
    ema.update(denoiser, state);
    std::printf("%s patches: loss %.3f\n", pd::to_string(plan.patch).c_str(), report.loss());
  }

  const auto averaged = ema.apply_to(denoiser.clone());
  const at::Tensor images = pd::ODESampler{{.num_steps = 18}}(averaged, {.seeds = pd::seed_range(7, 4)});
  std::printf("%s\n", pd::to_string(B::shape(images)).c_str());
}
