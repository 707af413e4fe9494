// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/named_enum.hpp>

namespace patchdiff {

/// How windows become one image.
enum class Fusion : std::uint8_t {
  uniform,    ///< where windows overlap, their mean
  feathered,  ///< the mean by weights that fall towards a window's edges
  shifted,    ///< windows side by side; the grid lies elsewhere at each noise level
};

constexpr std::array<NamedValue<Fusion>, 3> value_names(Fusion) noexcept {
  return {{{Fusion::uniform, "uniform"}, {Fusion::feathered, "feathered"}, {Fusion::shifted, "shifted"}}};
}

/// How TiledDenoiser cuts an image into windows; `plan_tiling` chooses them for a memory budget.
struct TilingOptions {
  ImageSize window{};        ///< of every window, in pixels; best a size that the model was trained on
  std::int64_t overlap = 0;  ///< of neighbouring windows, in pixels, below the window's sides; the last ones may
                             ///< overlap more. 0 under Fusion::shifted
  /// How they become one image.
  Fusion fusion = Fusion::feathered;
  std::int64_t chunk = 1;  ///< windows in one call of the denoiser, at least 1
  std::uint64_t seed = 0;  ///< of the shifts
};

}  // namespace patchdiff
