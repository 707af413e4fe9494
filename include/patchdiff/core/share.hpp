// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace patchdiff {

/// Consecutive samples of a step, or images of a larger task, that one process works on.
struct Share {
  std::uint64_t first = 0;
  std::int64_t count = 0;

  friend bool operator==(const Share&, const Share&) = default;
};

/// What process `rank` of `size` does of a task: shares follow each other by rank and differ by one at most.
constexpr Share share_of(std::int64_t samples, int rank, int size) noexcept {
  const std::int64_t least = samples / size, larger = samples % size;
  return {static_cast<std::uint64_t>(rank * least + std::min<std::int64_t>(rank, larger)),
          least + (rank < larger ? 1 : 0)};
}

}  // namespace patchdiff
