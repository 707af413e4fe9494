// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
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
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  const auto samples = static_cast<std::size_t>(shape.front());
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const std::size_t row = values.size() / samples;
    plan.stream(Purpose::training_noise, first_sample + sample).normals(std::span(values).subspan(sample * row, row));
  }
  return B::from_host(std::span<const float>(values), shape, device);
}

}  // namespace patchdiff
