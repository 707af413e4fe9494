// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/normal_draws.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// Unit normal noise for a step's samples first_sample, first_sample + 1, ...; `shape` is [N, ...].
///
/// Draws: element e of sample n is draw e of the step's stream `Purpose::training_noise` n.
template <Backend B>
typename B::Tensor training_noise(const PatchPlan& plan, std::uint64_t first_sample, const Shape& shape,
                                  typename B::Device device) {
  NormalDraws draws;
  for (std::int64_t sample = 0; sample < shape.front(); ++sample) {
    draws.streams.push_back(plan.stream(Purpose::training_noise, first_sample + static_cast<std::uint64_t>(sample)));
  }
  if (shape.front() > 0) draws.length = static_cast<std::size_t>(element_count(shape) / shape.front());
  return draw_normals<B, float>(draws, shape, device);
}

}  // namespace patchdiff
