// SPDX-License-Identifier: Apache-2.0
// Instructions of what is ours on LibTorch, on one thread; what LibTorch does itself is left out, as it costs callgrind
// minutes.

#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <patchdiff/torch.hpp>

#include "count.hpp"

namespace pd = patchdiff;
using B = pd::TorchBackend;

int main() {
  at::set_num_threads(1);
  const pd::ImageSize image{32, 32};
  const pd::ImageBatch<B> batch{.images = at::full({8, 3, 32, 32}, 0.5)};
  const pd::PatchPlan plan{.patch = {16, 16}, .images = 8, .key = {1}};
  const pd::PatchSampler<B> sampler;
  const pd::Places places = sampler.places(plan, image, 8);
  count("crop", [&] { sampler(batch, places); });
  const pd::CoordEncoder<B> encoder(image);
  count("coordinates", [&] { encoder(places, {}); });
  count("noise", [&] { pd::training_noise<B>(plan, 0, {8, 3, 16, 16}, {}); });

  const at::Tensor x = at::full({8, 32, 16, 16}, 0.25);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor input = x.to(type).requires_grad_();
    count(type == at::kFloat ? "scaled_sum_float32" : "scaled_sum_bfloat16",
          [&] { pd::unet::scaled_sum(input, input, 0.5); });
  }

  pd::DenoiserWrapper denoiser{
      pd::SongUNet({.image = image, .model_channels = 8, .channel_mult = {1}, .num_blocks = 1, .dropout = 0}),
      {.image = {3, 32, 32}}};
  pd::Adam<B> adam;
  pd::EMA<B> average(denoiser);
  const at::Tensor finite = at::ones({});
  count("adam", [&] { adam.step(denoiser, finite); });
  count("average", [&] { average.blend(denoiser, 0.5); });

  // callgrind's processor has AVX2 and no AVX-512, so these are the kernels over vectors of 8.
  const at::NoGradGuard no_grad;
  const at::Tensor activations = pd::unet::channels_last(x, at::kFloat), told = at::ones({8, 32});
  const at::Tensor weight = at::full({32, 32, 3, 3}, 0.125), bias = at::ones({32});
  if (!pd::unet::CpuConvolution::gains(activations, weight, 1)) return 1;
  count("convolution", [&] { pd::unet::CpuConvolution::convolved(activations, weight, bias); });
  count("convolution_gradients",
        [&] { pd::unet::CpuConvolution::gradients_of(activations, activations, weight, true, true); });
  count("group_norm", [&] { pd::unet::CpuGroupNorm::apply(activations, told, told, told, 8, 1e-6, true); });
  return 0;
}
