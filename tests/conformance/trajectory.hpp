// SPDX-License-Identifier: Apache-2.0
// A short run of training and sampling; part of conformance/suite.hpp.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/trainer.hpp>

#include "conformance/primitives.hpp"
#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/tensors.hpp"

namespace patchdiff::conformance {

/// What a short run of training and sampling leaves behind.
struct Trajectory {
  Values sigma, losses, gradient_norms, weights, averaged, samples;

  friend bool operator==(const Trajectory&, const Trajectory&) = default;
};

struct TrajectoryOptions {
  ImageShape image{2, 8, 6};
  std::vector<ImageSize> patches{{8, 6}, {4, 3}, {2, 1}};
  Window window{2, 1, 3, 4};
  std::uint64_t steps = 8;
};

/// Hands out parts of a step with all that a batch can hold.
template <Backend B>
struct RandomLoader {
  ImageShape image;
  typename B::Device device;

  ImageBatch<B> take(const PatchPlan& plan, std::uint64_t first_sample, std::int64_t count) const {
    const std::uint64_t seed = 1000 * plan.step + first_sample;
    const auto random = [&](std::int64_t channels) {
      return random_tensor<B>({count, channels, image.height, image.width}, seed, device);
    };
    return {.images = random(image.channels),
            .mask = random(1),
            .fields = random(1),
            .class_labels = random_tensor<B>({count, 3}, 1, device),
            .first_sample = first_sample};
  }
};

/// Trains a small model with all that a step can be given, then samples with guidance and churn.
template <Backend B>
Trajectory train_and_sample(typename B::Device device, const TrajectoryOptions& options = {}) {
  const ImageShape image = options.image;
  const std::int64_t c = image.channels;
  DenoiserWrapper denoiser{
      host::PixelwiseNetwork<B>({.in_channels = c + 3, .out_channels = c + 2, .label_dim = 3}, {1}, device),
      {.image = image}};
  Adam<B> adam({.learning_rate = 0.01, .epsilon = 1e-4});
  EMA<B> ema(denoiser, {.halflife_images = 100});
  const RandomLoader<B> loader{image, device};
  TrainState state{.seed = 7};
  Trainer trainer(
      denoiser, adam, loader, state,
      {.step = {.schedule = PatchSizeSchedule::stochastic_of({.image = image.size(), .sizes = options.patches}),
                .batch = 4,
                .label_dropout = 0.3,
                .max_gradient_norm = 0.5,
                .non_finite = NonFinite::guarded},
       .micro_batch = 3});
  Trajectory trajectory;
  trainer.run(std::numeric_limits<std::uint64_t>::max(), [&](const StepReport<B>& report) {
    ema.update(denoiser, state);
    trajectory.sigma.insert(trajectory.sigma.end(), report.sigma.begin(), report.sigma.end());
    trajectory.losses.push_back(report.loss());
    trajectory.gradient_norms.push_back(B::to_host(*report.gradient_norm).front());
    return state.step < options.steps ? Flow::proceed : Flow::stop;
  });
  auto averaged = ema.apply_to(denoiser.clone());
  const auto keep = [](Values& all) {
    return [&all](std::string_view, typename B::Tensor& value) {
      const Values values = B::to_host(value);
      all.insert(all.end(), values.begin(), values.end());
    };
  };
  denoiser.visit_state(keep(trajectory.weights));
  averaged.visit_state(keep(trajectory.averaged));
  const GuidedDenoiser guided(averaged, 1.5);
  const Window window = options.window;
  trajectory.samples = B::Wide::to_host(ODESampler({.num_steps = 5}, Churn({.s_churn = 2}))(
      guided, {.seeds = {1, 2},
               .conditioning = {.class_labels = random_tensor<B>({2, 3}, 2, device),
                                .fields = random_tensor<B>({2, 1, window.height, window.width}, 3, device)},
               .window = window}));
  return trajectory;
}

inline void check_same(const Trajectory& got, const Trajectory& expected, double tolerance) {
  CHECK(got.sigma == expected.sigma);
  check_close(got.losses, expected.losses, tolerance);
  check_close(got.gradient_norms, expected.gradient_norms, tolerance);
  check_close(got.weights, expected.weights, tolerance);
  check_close(got.averaged, expected.averaged, tolerance);
  check_close(got.samples, expected.samples, tolerance);
}

/// The run gives the same on every backend, up to the rounding of its scalar type that training amplifies; for images
/// of one row, one column and one pixel too.
template <class Fixture>
void same_trajectory() {
  for (const TrajectoryOptions& options :
       {TrajectoryOptions{}, TrajectoryOptions{{1, 1, 5}, {{1, 5}, {1, 1}}, {0, 2, 1, 3}},
        TrajectoryOptions{{2, 5, 1}, {{5, 1}, {2, 1}}, {1, 0, 1, 1}},
        TrajectoryOptions{{1, 1, 1}, {{1, 1}}, {0, 0, 1, 1}}}) {
    CAPTURE(to_string(options.image));
    check_same(train_and_sample<typename Fixture::Backend>(Fixture::device(), options),
               train_and_sample<host::SpanBackend<double>>({}, options), Fixture::trajectory_tolerance);
  }
}

}  // namespace patchdiff::conformance
