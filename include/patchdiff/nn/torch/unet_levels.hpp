// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>
#include <patchdiff/nn/torch/unet_block.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>
#include <patchdiff/nn/unet_options.hpp>

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

/// What the levels of a U-Net are made of.
struct LevelSettings {
  ImageSize image{};                             ///< full images; names the levels, whatever the patch
  std::int64_t stem_channels = 0;                ///< what enters the first level
  std::vector<std::int64_t> channels{};          ///< of each level
  std::int64_t num_blocks = 0;                   ///< of a level; the decoder has one more
  std::vector<std::int64_t> attn_resolutions{};  ///< levels with attention, by the longer side of the full image there
  bool decoder_attends_once = true;              ///< whether only a level's last block in the decoder has attention
  BlockSettings block{};
};

/// The residual blocks of a U-Net: an encoder whose outputs the decoder takes back, level by level.
class Levels {
 public:
  Levels(WeightMaker& make, LevelSettings settings) : settings_(std::move(settings)) {
    std::vector<std::int64_t> skips{settings_.stem_channels};
    for (std::size_t level = 0; level < count(); ++level) add_encoder_level(make, level, skips);
    for (std::size_t level = count(); level-- > 0;) add_decoder_level(make, level, skips);
  }

  /// The outputs that the decoder takes back; `enter(level, x)` replaces x at the beginning of each level but the
  /// first.
  template <class Enter>
  std::vector<at::Tensor> encode(at::Tensor x, const at::Tensor& embedding, const Pass& pass, Enter&& enter) const {
    std::vector<at::Tensor> skips{x};
    for (std::size_t level = 0; level < count(); ++level) {
      if (encoder_[level].down) {
        x = enter(level, (*encoder_[level].down)(x, embedding, pass));
        skips.push_back(x);
      }
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

  std::size_t count() const noexcept { return settings_.channels.size(); }

  /// The first part of the names of a level's layers.
  static std::string name(std::string_view side, ImageSize image, std::size_t level) {
    return fmt::format("{}.{}x{}_", side, image.height >> level, image.width >> level);
  }

 private:
  struct EncoderLevel {
    std::optional<Block> down{};
    std::vector<Block> blocks{};
  };
  struct DecoderLevel {
    std::vector<Block> entry{};  ///< in0 and in1 at the lowest level, else up
    std::vector<Block> blocks{};
  };

  bool attends(std::size_t level) const {
    const std::int64_t side = std::max(settings_.image.height, settings_.image.width) >> level;
    return std::find(settings_.attn_resolutions.begin(), settings_.attn_resolutions.end(), side) !=
           settings_.attn_resolutions.end();
  }

  void add_encoder_level(WeightMaker& make, std::size_t level, std::vector<std::int64_t>& skips) {
    EncoderLevel& made = encoder_.emplace_back();
    const std::string prefix = name("enc", settings_.image, level);
    if (level > 0) {
      made.down.emplace(make, prefix + "down", skips.back(), skips.back(), false, Resample::down, settings_.block,
                        layers_++);
      skips.push_back(skips.back());
    }
    for (std::int64_t index = 0; index < settings_.num_blocks; ++index) {
      made.blocks.emplace_back(make, prefix + "block" + std::to_string(index), skips.back(), settings_.channels[level],
                               attends(level), Resample::none, settings_.block, layers_++);
      skips.push_back(settings_.channels[level]);
    }
  }

  /// Levels are made from the lowest one up, and kept from the highest one down.
  void add_decoder_level(WeightMaker& make, std::size_t level, std::vector<std::int64_t>& skips) {
    DecoderLevel& made = *decoder_.emplace(decoder_.begin());
    const std::string prefix = name("dec", settings_.image, level);
    const bool lowest = level == count() - 1;
    std::int64_t channels = settings_.channels[lowest ? level : level + 1];
    const auto enter = [&](const char* suffix, bool attention, Resample resample) {
      made.entry.emplace_back(make, prefix + suffix, channels, channels, attention, resample, settings_.block,
                              layers_++);
    };
    if (lowest) {
      enter("in0", true, Resample::none);
      enter("in1", false, Resample::none);
    } else {
      enter("up", false, Resample::up);
    }
    for (std::int64_t index = 0; index <= settings_.num_blocks; ++index) {
      const bool attention = attends(level) && (index == settings_.num_blocks || !settings_.decoder_attends_once);
      made.blocks.emplace_back(make, prefix + "block" + std::to_string(index), channels + skips.back(),
                               settings_.channels[level], attention, Resample::none, settings_.block, layers_++);
      channels = settings_.channels[level];
      skips.pop_back();
    }
  }

  LevelSettings settings_;
  std::uint64_t layers_ = 0;  ///< numbers the draws of dropout
  std::vector<EncoderLevel> encoder_{};
  std::vector<DecoderLevel> decoder_{};
};

/// The options, checked. Errors: ConfigError of the component `network`.
template <class Options>
Options checked(std::string_view network, Options options) {
  check_options(network, options);
  const auto require = [&](bool holds, std::string_view argument, std::string_view expected, const auto& got) {
    if (!holds) throw ConfigError(network, argument, expected, fmt::format("{}", got));
  };
  require(options.augment_dim >= 0, "augment_dim", "at least 0", options.augment_dim);
  require(options.dropout >= 0 && options.dropout < 1, "dropout", "a value in [0, 1)", options.dropout);
  const std::int64_t divisor = size_divisor(options);
  const ImageSize image = options.image;
  require(image.height >= 1 && image.width >= 1 && image.height % divisor == 0 && image.width % divisor == 0, "image",
          fmt::format("sides divisible by {}", divisor), to_string(image));
  return options;
}

}  // namespace patchdiff::unet
