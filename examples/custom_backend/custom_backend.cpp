// SPDX-License-Identifier: Apache-2.0
// Trains a tiny model on a host's own backend and network, then samples from it: no LibTorch, no Eigen. The network
// sees one pixel at a time, so it can learn how bright each place is, and no more; that is what its images are made of.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory_resource>
#include <span>
#include <utility>
#include <vector>

#include <patchdiff/components.hpp>

#include "pixelwise_network.hpp"
#include "span_backend.hpp"

namespace {

namespace pd = patchdiff;
using B = host::SpanBackend<float>;

static_assert(pd::Backend<B> && pd::Backend<B::Wide>);
static_assert(pd::TrainableNetwork<host::PixelwiseNetwork<B>>);

constexpr std::int64_t side = 8;

double ramp(std::int64_t column) { return 0.2 * static_cast<double>(column) - 0.7; }

/// The host's images: from dark at the left to bright at the right, with grain of standard deviation 0.1.
std::vector<float> my_images(const pd::PatchPlan& plan) {
  std::vector<float> pixels(static_cast<std::size_t>(plan.images * side * side));
  pd::RandomStream({2}, pd::Purpose::data_order, plan.step, 0).normals(std::span(pixels));
  std::int64_t index = 0;
  for (float& pixel : pixels) pixel = static_cast<float>(ramp(index++ % side) + 0.1 * pixel);
  return pixels;
}

/// How far the mean of each column of the samples is from the ramp, root mean square.
double distance_from_ramp(const std::vector<double>& samples) {
  std::vector<double> means(side);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    means[i % side] += samples[i] * side / static_cast<double>(samples.size());
  }
  double sum = 0;
  for (std::int64_t column = 0; column < side; ++column) {
    const double mean = means[static_cast<std::size_t>(column)];
    std::printf("column %d: mean of the samples %5.2f, of the images %5.2f\n", static_cast<int>(column), mean,
                ramp(column));
    sum += (mean - ramp(column)) * (mean - ramp(column));
  }
  return std::sqrt(sum / side);
}

}  // namespace

int main() {
  std::pmr::unsynchronized_pool_resource pool;  // first made, last destroyed: every tensor lies in it
  const host::Memory memory{&pool};
  host::PixelwiseNetwork<B> network({.in_channels = 1 + 2, .out_channels = 1, .hidden = 8}, {1}, memory);
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {1, side, side}}};

  const pd::TrainStep<B> step{
      {.schedule = pd::PatchSizeSchedule::stochastic_of({.image = {side, side}, .sizes = {{4, 4}, {side, side}}}),
       .batch = 16}};
  pd::Adam<B> optimizer{{.learning_rate = 0.01}};
  pd::EMA<B> ema(denoiser, {.halflife_images = 2000});
  pd::TrainState state{.seed = 1};

  constexpr std::uint64_t steps = 800, shown = 100;
  double first = 0, loss = 0;
  while (state.step < steps) {
    const pd::PatchPlan plan = step.plan(state);
    std::vector<float> pixels = my_images(plan);
    const B::Tensor images = B::over(pixels, {plan.images, 1, side, side}, memory);
    loss += step(denoiser, optimizer, {.images = images}, plan, state).loss() / shown;
    ema.update(denoiser, state);
    if (state.step % shown > 0) continue;
    std::printf("step %d: mean loss %.3f\n", static_cast<int>(state.step), loss);
    if (state.step == shown) first = loss;
    if (state.step < steps) loss = 0;
  }

  const auto averaged = ema.apply_to(denoiser.clone());
  const B::Wide::Tensor samples = pd::ODESampler{{.num_steps = 18}}(averaged, {.seeds = pd::seed_range(7, 64)});
  const double distance = distance_from_ramp(B::Wide::to_host(samples));
  std::printf("root mean square %.3f\n", distance);
  return loss < 0.75 * first && distance < 0.1 ? 0 : 1;
}
