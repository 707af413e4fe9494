// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// A rectangle of a full image, in pixels.
struct Window {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;

  ImageSize size() const noexcept { return {height, width}; }

  friend bool operator==(const Window&, const Window&) = default;
};

}  // namespace patchdiff
