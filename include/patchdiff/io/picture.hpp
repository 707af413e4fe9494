// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// An 8-bit grey or RGB picture in host memory.
///
/// Shapes: `pixels` are [H, W, C], row by row, the channels of a pixel side by side; C is 1 or 3.
struct Picture {
  ImageShape shape{};
  std::vector<std::uint8_t> pixels{};

  friend bool operator==(const Picture&, const Picture&) = default;
};

}  // namespace patchdiff
