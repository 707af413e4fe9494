// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/unet_options.hpp>

namespace patchdiff::unet {

/// What happens to the resolution: nothing, sides halved, or doubled.
enum class Resample { none, down, up };

/// A residual block, by the name of its weights.
struct BlockPlan {
  std::string name{};
  std::int64_t in = 0;   ///< channels
  std::int64_t out = 0;  ///< channels
  bool attention = false;
  Resample resample = Resample::none;
  std::uint64_t layer = 0;  ///< its number in the network; keys the draws of dropout
};

/// The residual blocks of DDPM++, NCSN++ and ADM, named as in published checkpoints: an encoder whose outputs the
/// decoder takes back, level by level.
class UNetPlan {
 public:
  struct Level {
    /// Encoder: down, but at the highest level nothing; decoder: in0 and in1 at the lowest level, else up.
    std::vector<BlockPlan> entry{};
    std::vector<BlockPlan> blocks{};  ///< the decoder's each take back an output of the encoder
  };

  /// `stem_channels` enter the first level; `decoder_attends_once`: only the last block of a level of the decoder has
  /// attention.
  template <class Options>
  UNetPlan(const Options& options, std::int64_t stem_channels, bool decoder_attends_once)
      : image_(options.image),
        channels_(level_channels(options)),
        num_blocks_(options.num_blocks),
        attn_resolutions_(options.attn_resolutions),
        attends_once_(decoder_attends_once),
        skips_{stem_channels},
        encoder_(channels_.size()),
        decoder_(channels_.size()) {
    for (std::size_t level = 0; level < count(); ++level) add_encoder_level(level);
    for (std::size_t level = count(); level-- > 0;) add_decoder_level(level);
  }

  /// The number of levels; 0 is the highest resolution.
  std::size_t count() const noexcept { return channels_.size(); }
  const Level& encoder(std::size_t level) const { return encoder_[level]; }
  const Level& decoder(std::size_t level) const { return decoder_[level]; }

  /// The first part of the names of a level's layers.
  static std::string name(std::string_view side, ImageSize image, std::size_t level) {
    return str(side, '.', image.height >> level, 'x', image.width >> level, '_');
  }

 private:
  bool attends(std::size_t level) const {
    const std::int64_t side = std::max(image_.height, image_.width) >> level;
    return std::find(attn_resolutions_.begin(), attn_resolutions_.end(), side) != attn_resolutions_.end();
  }

  void add_encoder_level(std::size_t level) {
    Level& made = encoder_[level];
    const std::string prefix = name("enc", image_, level);
    if (level > 0) {
      made.entry.push_back({prefix + "down", skips_.back(), skips_.back(), false, Resample::down, layers_++});
      skips_.push_back(skips_.back());
    }
    for (std::int64_t index = 0; index < num_blocks_; ++index) {
      made.blocks.push_back(
          {str(prefix, "block", index), skips_.back(), channels_[level], attends(level), Resample::none, layers_++});
      skips_.push_back(channels_[level]);
    }
  }

  void add_decoder_level(std::size_t level) {
    Level& made = decoder_[level];
    const std::string prefix = name("dec", image_, level);
    const bool lowest = level == count() - 1;
    std::int64_t channels = channels_[lowest ? level : level + 1];
    const auto enter = [&](const char* suffix, bool attention, Resample resample) {
      made.entry.push_back({prefix + suffix, channels, channels, attention, resample, layers_++});
    };
    if (lowest) {
      enter("in0", true, Resample::none);
      enter("in1", false, Resample::none);
    } else {
      enter("up", false, Resample::up);
    }
    for (std::int64_t index = 0; index <= num_blocks_; ++index) {
      const bool attention = attends(level) && (index == num_blocks_ || !attends_once_);
      made.blocks.push_back({str(prefix, "block", index), channels + skips_.back(), channels_[level], attention,
                             Resample::none, layers_++});
      channels = channels_[level];
      skips_.pop_back();
    }
  }

  ImageSize image_;
  std::vector<std::int64_t> channels_;
  std::int64_t num_blocks_;
  std::vector<std::int64_t> attn_resolutions_;
  bool attends_once_;
  std::uint64_t layers_ = 0;
  std::vector<std::int64_t> skips_;  ///< channels of the encoder's outputs that are not yet taken back
  std::vector<Level> encoder_;
  std::vector<Level> decoder_;
};

}  // namespace patchdiff::unet
