// SPDX-License-Identifier: Apache-2.0
// The host's data, its network's place in patchdiff, and its training loop.

#include "shape_painter.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/sigmoid.h>
#include <torch/optim/adamw.h>

#include <patchdiff/nn/torch/module_network.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/torch/torch_optimizer.hpp>

#include "strokes_net.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::TorchBackend;

/// The host's data: an ellipse of random place, radii and colour on grey, [count, 3, side, side] in [-1, 1].
at::Tensor ellipses(std::int64_t count, std::int64_t side) {
  const at::Tensor axis = at::linspace(-1, 1, side);
  const at::Tensor centre = at::rand({count, 2, 1, 1}) - 0.5, radius = at::rand({count, 2, 1, 1}) * 0.4 + 0.2;
  const at::Tensor across = (axis.view({1, 1, side}) - centre.select(1, 0)) / radius.select(1, 0);
  const at::Tensor down = (axis.view({1, side, 1}) - centre.select(1, 1)) / radius.select(1, 1);
  const at::Tensor inside = at::sigmoid((1 - (across.square() + down.square()).sqrt()) * 10).unsqueeze(1);
  return inside * (at::rand({count, 3, 1, 1}) * 2 - 1);
}

/// [4, 3, side, side] in [-1, 1] to bytes, side by side.
Painting to_painting(const at::Tensor& images) {
  const at::Tensor row = at::cat(images.unbind(), 2).permute({1, 2, 0});  // [side, 4 * side, 3]
  const at::Tensor bytes = ((row.clamp(-1, 1) + 1) * 127.5).round().to(at::kByte).contiguous();
  const auto* first = bytes.data_ptr<std::uint8_t>();
  return {.width = static_cast<int>(row.size(1)),
          .height = static_cast<int>(row.size(0)),
          .rgb = {first, first + bytes.numel()}};
}

}  // namespace

Painting paint_shapes(std::int64_t side, std::uint64_t images) {
  at::manual_seed(5);  // the host's initial weights and data

  const StrokesNet strokes(3 + 2, 3, 32);  // two channels more than the picture has: where the patch lies
  auto optimizer = std::make_unique<torch::optim::AdamW>(strokes->parameters(), torch::optim::AdamWOptions(2e-3));

  pd::ModuleNetwork<StrokesNetImpl> network(
      strokes.ptr(), {.input_channels = 3 + 2, .output_channels = 3, .size_divisor = 2},
      [](StrokesNetImpl& net, const pd::NetworkInput& in) { return net.forward(in.images, in.noise); });
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {3, side, side}}};
  pd::TorchOptimizer steps(std::move(optimizer));

  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic({.image = {side, side}, .size_divisor = 2}), .batch = 16}};
  pd::EMA<B> average(denoiser);
  pd::TrainState state{.seed = 1};
  std::vector<double> losses;
  while (state.images < images) {
    const pd::PatchPlan plan = step.plan(state);
    const auto report = step(denoiser, steps, {.images = ellipses(plan.images, side)}, plan, state);
    average.update(denoiser, state);
    losses.push_back(report.loss());
  }

  const auto averaged = average.apply_to(denoiser.clone());
  Painting painting =
      to_painting(pd::ODESampler{{.num_steps = 12}}(averaged, {.seeds = pd::seed_range(1, 4)}).to(at::kFloat));
  const std::size_t few = std::min<std::size_t>(8, losses.size());
  for (std::size_t i = 0; i < few; ++i) {
    painting.first_loss += losses[i] / static_cast<double>(few);
    painting.last_loss += losses[losses.size() - 1 - i] / static_cast<double>(few);
  }
  return painting;
}
