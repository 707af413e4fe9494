// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace patchdiff {

/// Size of a SmallUNet.
struct SmallUNetOptions {
  std::int64_t in_channels = 3 + 2;              ///< image, coordinate and field channels
  std::int64_t out_channels = 3;                 ///< image channels
  std::int64_t label_dim = 0;                    ///< width of class labels, 0: none
  std::int64_t model_channels = 32;              ///< width of the first level; a multiple of 4
  std::vector<std::int64_t> channel_mult{1, 2};  ///< width of each level, in model_channels
  std::int64_t num_blocks = 1;                   ///< residual blocks a level, on the way down and on the way up

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("in_channels", self.in_channels, "image, coordinate and field channels");
    visit("out_channels", self.out_channels, "image channels");
    visit("label_dim", self.label_dim, "width of class labels, 0: none");
    visit("model_channels", self.model_channels, "width of the first level");
    visit("channel_mult", self.channel_mult, "width of each level, in model_channels");
    visit("num_blocks", self.num_blocks, "residual blocks a level, on the way down and on the way up");
  }
};

}  // namespace patchdiff
