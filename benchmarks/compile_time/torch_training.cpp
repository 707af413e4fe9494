// SPDX-License-Identifier: Apache-2.0
// A host that trains over patchdiff/torch.hpp.
#include <patchdiff/torch.hpp>

namespace pd = patchdiff;
using B = pd::TorchBackend;

double used(const pd::ImageBatch<B>& batch) {
  pd::DenoiserWrapper denoiser{pd::SongUNet({.image = {32, 32}}), {.image = {3, 32, 32}}};
  const pd::TrainStep<B> step({.schedule = pd::PatchSizeSchedule::stochastic({.image = {32, 32}})});
  pd::Adam<B> adam;
  pd::EMA<B> average(denoiser);
  pd::TrainState state;
  const double loss = step(denoiser, adam, batch, step.plan(state), state).loss();
  average.update(denoiser, state);
  return loss;
}
