// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/window.hpp>

namespace patchdiff {

/// What to draw: one sample per seed, of the whole image or of a window of it.
template <Backend B>
struct SampleRequest {
  std::vector<std::uint64_t> seeds{};
  Conditioning<B> conditioning{};  ///< one row per seed
  std::optional<Window> window{};  ///< the part of the image to draw; the whole image where absent
};

/// The seeds first, first + 1, ...: `count` of them.
inline std::vector<std::uint64_t> seed_range(std::uint64_t first, std::size_t count) {
  std::vector<std::uint64_t> seeds(count);
  for (std::size_t index = 0; index < count; ++index) seeds[index] = first + index;
  return seeds;
}

}  // namespace patchdiff
