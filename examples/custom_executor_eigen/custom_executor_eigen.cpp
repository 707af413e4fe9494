// SPDX-License-Identifier: Apache-2.0
// The Eigen backend on a host's own threads: trains a small network for a few steps on them, and again on the calling
// thread alone; the weights are the same to the bit.

#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/eigen.hpp>
#include <patchdiff/nn/eigen/small_unet.hpp>

#include "pool_executor.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

/// Stands for the host's images, [N, 1, 16, 16].
B::Tensor my_images(const pd::PatchPlan& plan, B::Device device) {
  std::vector<float> pixels(static_cast<std::size_t>(plan.images * 16 * 16));
  pd::RandomStream({2}, pd::Purpose::data_order, plan.step, 0).normals(std::span(pixels));
  return B::from_host(std::span<const float>(pixels), {plan.images, 1, 16, 16}, device);
}

/// All weights after a short training.
std::vector<double> trained(B::Device device) {
  pd::SmallUNet<float> network({.in_channels = 1 + 2, .out_channels = 1, .model_channels = 16}, {1}, device);
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {1, 16, 16}}};
  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic_of({.image = {16, 16}, .sizes = {{16, 16}}}), .batch = 16}};
  pd::Adam<B> optimizer{};
  pd::TrainState state{.seed = 1};
  while (state.step < 5) {
    const pd::PatchPlan plan = step.plan(state);
    const auto report = step(denoiser, optimizer, {.images = my_images(plan, device)}, plan, state);
    std::printf("step %d: loss %.9g\n", static_cast<int>(state.step), report.loss());
  }
  std::vector<double> weights;
  denoiser.visit_state([&](std::string_view, const B::Tensor& value) {
    const std::vector<double> part = B::to_host(value);
    weights.insert(weights.end(), part.begin(), part.end());
  });
  return weights;
}

}  // namespace

int main() {
  host::JobPool pool(3);
  host::PoolExecutor executor(pool);
  std::printf("on the host's threads:\n");
  const std::vector<double> parallel = trained(B::Device{executor});
  std::printf("on the calling thread:\n");
  const std::vector<double> serial = trained(B::Device{});
  std::printf("%zu weights, %s\n", serial.size(), parallel == serial ? "the same to the bit" : "not the same");
  return parallel == serial ? 0 : 1;
}
