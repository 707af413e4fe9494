// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>

namespace patchdiff {

/// What one training step does: a function of seed, step and images seen, so that every process agrees on it.
struct PatchPlan {
  ImageSize patch{};              ///< size of every patch of the step
  std::int64_t images = 0;        ///< images to take, over all processes; one patch is cut from each
  std::uint64_t first_image = 0;  ///< position of the first of them in the data order
  std::uint64_t step = 0;         ///< step index of the step's random draws
  RandomKey key{};                ///< key of the step's random draws

  /// The draws of one of the step's samples, numbered from 0 over all processes.
  RandomStream stream(Purpose purpose, std::uint64_t sample) const noexcept { return {key, purpose, step, sample}; }
};

}  // namespace patchdiff
