// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// A grey or RGB picture as a file holds it, of any depth.
///
/// Shapes: `values` are [H, W, C], row by row, the channels of a pixel side by side; C is 1 or 3. Units: 65535 is
/// white; a file's values of b bits are multiplied by 65535 / (2^b - 1), which is whole, so that nothing is lost.
struct DecodedPicture {
  ImageShape shape{};
  std::vector<std::uint16_t> values{};

  friend bool operator==(const DecodedPicture&, const DecodedPicture&) = default;
};

}  // namespace patchdiff
