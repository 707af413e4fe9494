// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <patchdiff/core/precision.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>
#include <patchdiff/nn/torch/unet_block.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>
#include <patchdiff/nn/unet_plan.hpp>

namespace patchdiff::unet {

/// Runs what reads the image and the noise level, in float32 whatever the network's precision.
///
/// Both are cheap, and bfloat16 would lose what they are read for: c_in x is near 2 where an image is black, and
/// bfloat16's numbers there lie 2^-6 apart, as far as noise of sigma = 0.008 deviates.
template <class F>
auto in_float32(const TorchDevice& device, const F& read) {
  const AutocastGuard none(device.device.type(), Precision::float32);
  return read();
}

/// Activations as the blocks of a network of that precision take them.
inline at::Tensor rounded(const at::Tensor& x, Precision precision) {
  if (precision == Precision::float32) return x;
  if (precision == Precision::float16) return x.to(at::kHalf);
  return x.is_cpu() ? channels_last(x, at::kBFloat16) : x.to(at::kBFloat16);
}

/// The residual blocks of a U-Net: an encoder whose outputs the decoder takes back, level by level.
class Levels {
 public:
  Levels() = default;
  Levels(WeightMaker& make, const UNetPlan& plan, const BlockSettings& settings)
      : encoder_(plan.count()), decoder_(plan.count()) {
    const auto build = [&](Level& level, const UNetPlan::Level& planned) {
      for (const BlockPlan& block : planned.entry) level.entry.emplace_back(make, block, settings);
      for (const BlockPlan& block : planned.blocks) level.blocks.emplace_back(make, block, settings);
    };
    for (std::size_t level = 0; level < count(); ++level) build(encoder_[level], plan.encoder(level));
    for (std::size_t level = count(); level-- > 0;) build(decoder_[level], plan.decoder(level));
  }

  /// The outputs that the decoder takes back; `enter(level, x)` replaces x at the beginning of each level but the
  /// first.
  template <class Enter>
  std::vector<at::Tensor> encode(at::Tensor x, const at::Tensor& embedding, const Pass& pass, Enter&& enter) const {
    std::vector<at::Tensor> skips{x};
    for (std::size_t level = 0; level < count(); ++level) {
      for (const Block& block : encoder_[level].entry) skips.push_back(x = enter(level, block(x, embedding, pass)));
      for (const Block& block : encoder_[level].blocks) skips.push_back(x = block(x, embedding, pass));
    }
    return skips;
  }

  /// The decoder's output; `leave(level, x)` sees what each level gives, from the lowest one up.
  template <class Leave>
  at::Tensor decode(std::vector<at::Tensor> skips, const at::Tensor& embedding, const Pass& pass, Leave&& leave) const {
    at::Tensor x = skips.back();
    for (std::size_t level = count(); level-- > 0;) {
      for (const Block& block : decoder_[level].entry) x = block(x, embedding, pass);
      for (const Block& block : decoder_[level].blocks) {
        x = block(at::cat({x, skips.back().to(x.scalar_type())}, 1), embedding, pass);
        skips.pop_back();
      }
      leave(level, x);
    }
    return x;
  }

  std::size_t count() const noexcept { return decoder_.size(); }

 private:
  struct Level {
    std::vector<Block> entry{};
    std::vector<Block> blocks{};
  };

  std::vector<Level> encoder_;
  std::vector<Level> decoder_;
};

}  // namespace patchdiff::unet
