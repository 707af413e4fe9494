// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/training/timed_length.hpp>
#include <patchdiff/training/train_step.hpp>
#include <patchdiff/training/training_cost.hpp>

#include "shared/stopwatch.hpp"

/// The length of a training that ends some seconds from now: a few steps at each patch size tell how fast the machine
/// is, which is printed.
template <class D, class Loader>
patchdiff::TimedLength<> length_for(double seconds, const D& denoiser, Loader& loader,
                                    const patchdiff::TrainStepOptions& step_options) {
  const Stopwatch watch;
  const std::vector<double> seconds_per_image = patchdiff::measured_seconds_per_image(denoiser, loader, step_options);
  for (std::size_t size = 0; size < seconds_per_image.size(); ++size) {
    fmt::print("patches of {}: {:.0f} images/s\n", to_string(step_options.schedule.sizes()[size]),
               1 / seconds_per_image[size]);
  }
  return {step_options.schedule, seconds_per_image, seconds - watch.seconds()};
}
