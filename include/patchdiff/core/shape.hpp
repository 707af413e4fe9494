// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// The sizes of a tensor, outermost first; images are [N, C, H, W].
using Shape = std::vector<std::int64_t>;

/// The number of elements of a tensor of that shape; 1 for a scalar.
inline std::int64_t element_count(const Shape& shape) noexcept {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

/// Writes a shape as `[2, 3, 64, 64]`.
inline std::string to_string(std::span<const std::int64_t> shape) { return str('[', join(shape, ", "), ']'); }

}  // namespace patchdiff
