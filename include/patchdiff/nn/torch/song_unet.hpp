// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/silu.h>
#include <fmt/format.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autograd_network.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>

namespace patchdiff {

/// Settings of DDPM++; the defaults are those of EDM's CIFAR-10 model.
struct SongUNetOptions {
  ImageSize image{};                                ///< full images; names the levels, whatever the patch
  std::int64_t in_channels = 3 + 2;                 ///< image, coordinate and field channels
  std::int64_t out_channels = 3;                    ///< image channels
  std::int64_t label_dim = 0;                       ///< width of class labels, 0: none
  std::int64_t model_channels = 128;                ///< width of the first level; a multiple of 4
  std::vector<std::int64_t> channel_mult{2, 2, 2};  ///< width of each level, in model_channels
  std::int64_t num_blocks = 4;                      ///< residual blocks a level
  std::vector<std::int64_t> attn_resolutions{
      16};                    ///< levels with attention, by the longer side of the full image there
  double dropout = 0.1;       ///< probability, in [0, 1)
  bool implicit_mlp = false;  ///< three more 1x1 layers at the input, each with SiLU behind it

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("image", self.image, "height and width of full images");
    visit("in_channels", self.in_channels, "image, coordinate and field channels");
    visit("out_channels", self.out_channels, "image channels");
    visit("label_dim", self.label_dim, "width of class labels, 0: none");
    visit("model_channels", self.model_channels, "width of the first level");
    visit("channel_mult", self.channel_mult, "width of each level, in model_channels");
    visit("num_blocks", self.num_blocks, "residual blocks a level");
    visit("attn_resolutions", self.attn_resolutions, "sides of the levels with attention");
    visit("dropout", self.dropout, "dropout probability");
    visit("implicit_mlp", self.implicit_mlp, "three more 1x1 layers at the input");
  }
};

/// The DDPM++ U-Net, with the parameter names of published checkpoints.
///
/// Shapes: [N, in_channels, h, w] to [N, out_channels, h, w], h and w divisible by 2^(levels - 1); labels
/// [N, label_dim].
/// Draws: initial weights from the key that the constructor is given, dropout from the pass.
/// Source: Song et al. (arXiv 2011.13456), appendix H; EDM (arXiv 2206.00364), appendix F.
class SongUNet : public AutogradNetwork<SongUNet> {
 public:
  using Options = SongUNetOptions;
  static constexpr std::string_view name = "SongUNet";

  /// Errors: ConfigError for settings that cannot work.
  explicit SongUNet(SongUNetOptions options, RandomKey key = {}, TorchDevice device = {})
      : AutogradNetwork(device), options_(checked(std::move(options))) {
    unet::WeightMaker make{
        [this](std::string parameter, at::Tensor value) {
          return add_parameter(std::move(parameter), std::move(value));
        },
        [this](std::string buffer, at::Tensor value) { return add_buffer(std::move(buffer), std::move(value)); }, key,
        device};
    const std::int64_t noise_channels = options_.model_channels;
    const unet::BlockSettings settings{.embedding_channels = 4 * options_.model_channels,
                                       .dropout = options_.dropout,
                                       .skip_scale = std::sqrt(0.5),
                                       .epsilon = 1e-6,
                                       .qkv_gain = std::sqrt(0.2)};
    if (options_.label_dim > 0) map_label_.emplace(make, "map_label", options_.label_dim, noise_channels);
    map_layer0_.emplace(make, "map_layer0", noise_channels, settings.embedding_channels);
    map_layer1_.emplace(make, "map_layer1", settings.embedding_channels, settings.embedding_channels);
    const std::vector<std::int64_t> skips = make_encoder(make, settings);
    make_decoder(make, settings, skips);
  }

  SongUNet clone() const {
    SongUNet copy(options_, {}, device());
    copy.copy_state(*this);
    return copy;
  }

  at::Tensor forward(const at::Tensor& input, std::span<const double> c_noise,
                     const Conditioning<TorchBackend>& conditioning, const Pass& pass) const {
    at::Tensor embedding = unet::positional_embedding(c_noise, options_.model_channels, device());
    if (map_label_ && conditioning.class_labels) {
      const double scale = std::sqrt(static_cast<double>(options_.label_dim));
      embedding = embedding + (*map_label_)(*conditioning.class_labels * scale);
    } else if (map_label_) {
      embedding = embedding + map_label_->bias;  // as labels of zeros
    }
    embedding = at::silu((*map_layer1_)(at::silu((*map_layer0_)(embedding))));

    at::Tensor x = input;
    for (const unet::Conv2d& layer : implicit_) x = at::silu(layer(x));
    x = (*stem_)(x);
    std::vector<at::Tensor> skips{x};
    for (const EncoderLevel& level : encoder_) {
      if (level.down) skips.push_back(x = (*level.down)(x, embedding, pass));
      for (const unet::Block& block : level.blocks) skips.push_back(x = block(x, embedding, pass));
    }
    for (const DecoderLevel& level : decoder_) {
      for (const unet::Block& block : level.entry) x = block(x, embedding, pass);
      for (const unet::Block& block : level.blocks) {
        x = block(at::cat({x, skips.back().to(x.scalar_type())}, 1), embedding, pass);
        skips.pop_back();
      }
    }
    return (*out_conv_)(at::silu((*out_norm_)(x)));
  }

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t size_divisor() const noexcept { return std::int64_t{1} << (options_.channel_mult.size() - 1); }
  const SongUNetOptions& options() const noexcept { return options_; }

 private:
  struct EncoderLevel {
    std::optional<unet::Block> down;
    std::vector<unet::Block> blocks;
  };
  struct DecoderLevel {
    std::vector<unet::Block> entry;  ///< in0 and in1 at the lowest level, else up
    std::vector<unet::Block> blocks;
  };

  std::string level_name(std::size_t level) const {
    return fmt::format("{}x{}_", options_.image.height >> level, options_.image.width >> level);
  }
  bool has_attention(std::size_t level) const {
    const std::int64_t side = std::max(options_.image.height, options_.image.width) >> level;
    return std::find(options_.attn_resolutions.begin(), options_.attn_resolutions.end(), side) !=
           options_.attn_resolutions.end();
  }
  std::int64_t width(std::size_t level) const { return options_.model_channels * options_.channel_mult[level]; }

  std::vector<std::int64_t> make_encoder(unet::WeightMaker& make, const unet::BlockSettings& settings) {
    std::int64_t channels = options_.model_channels;
    const std::string stem = "enc." + level_name(0) + "conv";
    if (options_.implicit_mlp) {
      implicit_.emplace_back(make, stem + ".0", options_.in_channels, channels, 1);
      implicit_.emplace_back(make, stem + ".2", channels, channels, 1);
      implicit_.emplace_back(make, stem + ".4", channels, channels, 1);
      stem_.emplace(make, stem + ".6", channels, channels, 3);
    } else {
      stem_.emplace(make, stem, options_.in_channels, channels, 3);
    }
    std::vector<std::int64_t> skips{channels};
    for (std::size_t level = 0; level < options_.channel_mult.size(); ++level) {
      EncoderLevel made;
      const std::string prefix = "enc." + level_name(level);
      if (level > 0) {
        made.down.emplace(make, prefix + "down", channels, channels, false, unet::Resample::down, settings, layers_++);
        skips.push_back(channels);
      }
      for (std::int64_t index = 0; index < options_.num_blocks; ++index) {
        made.blocks.emplace_back(make, prefix + "block" + std::to_string(index), channels, width(level),
                                 has_attention(level), unet::Resample::none, settings, layers_++);
        channels = width(level);
        skips.push_back(channels);
      }
      encoder_.push_back(std::move(made));
    }
    return skips;
  }

  void make_decoder(unet::WeightMaker& make, const unet::BlockSettings& settings, std::vector<std::int64_t> skips) {
    const std::size_t levels = options_.channel_mult.size();
    std::int64_t channels = width(levels - 1);
    for (std::size_t level = levels; level-- > 0;) {
      DecoderLevel made;
      const std::string prefix = "dec." + level_name(level);
      const auto enter = [&](const char* suffix, bool attention, unet::Resample resample) {
        made.entry.emplace_back(make, prefix + suffix, channels, channels, attention, resample, settings, layers_++);
      };
      if (level == levels - 1) {
        enter("in0", true, unet::Resample::none);
        enter("in1", false, unet::Resample::none);
      } else {
        enter("up", false, unet::Resample::up);
      }
      for (std::int64_t index = 0; index <= options_.num_blocks; ++index) {
        const bool attention = index == options_.num_blocks && has_attention(level);
        made.blocks.emplace_back(make, prefix + "block" + std::to_string(index), channels + skips.back(), width(level),
                                 attention, unet::Resample::none, settings, layers_++);
        channels = width(level);
        skips.pop_back();
      }
      decoder_.push_back(std::move(made));
    }
    out_norm_.emplace(make, "dec." + level_name(0) + "aux_norm", channels, settings.epsilon);
    out_conv_.emplace(make, "dec." + level_name(0) + "aux_conv", channels, options_.out_channels, 3, 1e-5);
  }

  static SongUNetOptions checked(SongUNetOptions options) {
    const auto require = [](bool holds, std::string_view argument, std::string_view expected, const auto& got) {
      if (!holds) throw ConfigError("SongUNet", argument, expected, fmt::format("{}", got));
    };
    require(options.in_channels >= 1, "in_channels", "at least 1", options.in_channels);
    require(options.out_channels >= 1, "out_channels", "at least 1", options.out_channels);
    require(options.label_dim >= 0, "label_dim", "at least 0", options.label_dim);
    require(options.model_channels >= 4 && options.model_channels % 4 == 0, "model_channels", "a multiple of 4",
            options.model_channels);
    require(options.num_blocks >= 1, "num_blocks", "at least 1", options.num_blocks);
    require(options.dropout >= 0 && options.dropout < 1, "dropout", "a value in [0, 1)", options.dropout);
    require(!options.channel_mult.empty() && options.channel_mult.size() < 32, "channel_mult", "1 to 31 levels",
            options.channel_mult.size());
    for (const std::int64_t mult : options.channel_mult) {
      require(mult >= 1, "channel_mult", "factors of at least 1", mult);
    }
    const std::int64_t divisor = std::int64_t{1} << (options.channel_mult.size() - 1);
    const ImageSize image = options.image;
    require(image.height >= 1 && image.width >= 1 && image.height % divisor == 0 && image.width % divisor == 0, "image",
            fmt::format("sides divisible by {}", divisor), to_string(image));
    return options;
  }

  SongUNetOptions options_;
  std::uint64_t layers_ = 0;
  std::optional<unet::Linear> map_label_, map_layer0_, map_layer1_;
  std::vector<unet::Conv2d> implicit_;  ///< the coordinate stem's 1x1 layers
  std::optional<unet::Conv2d> stem_;
  std::vector<EncoderLevel> encoder_;
  std::vector<DecoderLevel> decoder_;
  std::optional<unet::GroupNorm> out_norm_;
  std::optional<unet::Conv2d> out_conv_;
};

static_assert(TrainableNetwork<SongUNet>, "SongUNet does not fit the concept TrainableNetwork");

}  // namespace patchdiff
