// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <patchdiff/core/error.hpp>

/// Which part of each image is drawn, and from what windows.
struct WindowSettings {
  std::vector<std::int64_t> window{};
  std::int64_t tile = 0;
  std::int64_t overlap = 0;

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("window", self.window, "part of each image to draw: top,left,height,width; by default all of it");
    visit("tile", self.tile, "side of the windows that an image is fused from, 0: none");
    visit("overlap", self.overlap, "pixels by which those windows overlap");
  }

  void check() const {
    if (!window.empty() && (window.size() != 4 || window[2] < 1 || window[3] < 1)) {
      throw patchdiff::ConfigError("sample", "--window", "top,left,height,width with sides of at least 1",
                                   fmt::format("{}", fmt::join(window, ",")));
    }
    if (tile == 0 && overlap != 0) {
      throw patchdiff::ConfigError("sample", "--overlap", "0 without --tile", fmt::format("{}", overlap));
    }
  }
};
