// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
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
#include <ATen/ops/silu.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/check_arguments.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/song_unet_options.hpp>
#include <patchdiff/nn/torch/autograd_network.hpp>
#include <patchdiff/nn/torch/noise_embedding.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>
#include <patchdiff/nn/torch/unet_levels.hpp>
#include <patchdiff/nn/unet_options.hpp>
#include <patchdiff/nn/unet_plan.hpp>

namespace patchdiff {

/// The DDPM++ and NCSN++ U-Nets, with the parameter names of published checkpoints.
///
/// Shapes: [N, in_channels, h, w] to [N, out_channels, h, w], h and w divisible by 2^(levels - 1); labels
/// [N, label_dim], augmentation labels [N, augment_dim]; labels that are not given count as zeros.
/// Errors: ShapeError for arguments that do not fit.
/// Draws: initial weights from the key that the constructor is given, dropout from the pass.
/// Source: Song et al. (arXiv 2011.13456), appendix H; EDM (arXiv 2206.00364), appendix F.
class SongUNet : public AutogradNetwork<SongUNet> {
 public:
  using Options = SongUNetOptions;
  static constexpr std::string_view name = "SongUNet";

  /// Errors: ConfigError for settings that cannot work.
  explicit SongUNet(SongUNetOptions options, RandomKey key = {}, TorchDevice device = {})
      : SongUNet(device, std::move(options), key) {}

  /// A network whose weights have no values yet, for whoever gives it all of them: nothing is drawn, and no memory
  /// touched.
  static SongUNet unfilled(SongUNetOptions options, TorchDevice device = {}) {
    return {device, std::move(options), std::nullopt};
  }

  SongUNet clone() const {
    SongUNet copy = unfilled(options_, device());
    copy.copy_state(*this);
    return copy;
  }

  /// Differentiable, for hosts that want more than the gradients that `record` and `backward` give.
  at::Tensor forward(const at::Tensor& input, std::span<const double> c_noise,
                     const Conditioning<TorchBackend>& conditioning, const Pass& pass) const {
    unet::check_arguments(name, *this, input, c_noise, conditioning);
    const auto [stem, embedding] = unet::in_float32(device(), [&] {
      at::Tensor x = input;
      for (const unet::Conv2d& layer : implicit_) x = at::silu(layer(x));
      return std::pair((*stem_)(x), embedded(c_noise, conditioning));
    });
    at::Tensor branch = input;
    std::vector<at::Tensor> skips = levels_.encode(
        unet::rounded(stem, pass.precision), embedding, pass, [&](std::size_t level, const at::Tensor& entered) {
          if (options_.encoder_type == EncoderType::residual) {
            return branch = (entered + residual_[level - 1].then_halved(branch)) * std::sqrt(0.5);
          }
          if (options_.encoder_type == EncoderType::standard) return entered;
          branch = halved_[level - 1](branch);
          return entered + skip_[level - 1](branch);
        });
    at::Tensor sum;
    levels_.decode(std::move(skips), embedding, pass, [&](std::size_t level, const at::Tensor& left) {
      if (level >= outputs_.size()) return;
      const at::Tensor output = outputs_[level](left);
      sum = sum.defined() ? doubled_[level](sum) + output : output;
    });
    return sum;
  }

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t augment_dim() const noexcept { return options_.augment_dim; }
  std::int64_t size_divisor() const noexcept { return unet::size_divisor(options_); }
  const SongUNetOptions& options() const noexcept { return options_; }

 private:
  /// What makes the output of a level.
  struct Output {
    unet::GroupNorm norm;
    unet::Conv2d conv;
    at::Tensor operator()(const at::Tensor& x) const { return conv(norm.with_silu(x)); }
  };

  static constexpr double epsilon = 1e-6;

  SongUNet(TorchDevice device, SongUNetOptions options, std::optional<RandomKey> key)
      : AutogradNetwork(device), options_(checked_song_unet(name, std::move(options))) {
    unet::WeightMaker make{*this, key, unet::Initialization::xavier};
    const std::int64_t width = 4 * options_.model_channels;
    if (options_.embedding_type == EmbeddingType::fourier) {
      frequencies_ = make.buffer("map_noise.freqs", make.normal({noise_channels() / 2}, 16));
    }
    if (options_.label_dim > 0) map_label_.emplace(make, "map_label", options_.label_dim, noise_channels());
    if (options_.augment_dim > 0) {
      map_augment_ = make.layer("map_augment", {noise_channels(), options_.augment_dim}, 1, false).weight;
    }
    map_layer0_.emplace(make, "map_layer0", noise_channels(), width);
    map_layer1_.emplace(make, "map_layer1", width, width);
    make_stem(make);
    levels_ = {make, unet::UNetPlan(options_, options_.model_channels, /*decoder_attends_once=*/true),
               block_settings()};
    make_encoder_branch(make);
    make_outputs(make);
  }

  std::int64_t noise_channels() const { return options_.model_channels * options_.channel_mult_noise; }

  at::Tensor embedded(std::span<const double> c_noise, const Conditioning<TorchBackend>& conditioning) const {
    const std::int64_t half = noise_channels() / 2;
    const auto last = static_cast<double>(std::max<std::int64_t>(1, half - 1));
    at::Tensor embedding = frequencies_.defined() ? unet::fourier_embedding(c_noise, frequencies_)
                                                  : unet::positional_embedding(c_noise, 2 * half, last, device());
    embedding = at::cat({embedding.narrow(1, half, half), embedding.narrow(1, 0, half)}, 1);  // sines first
    if (map_label_ && conditioning.class_labels) {
      const double scale = std::sqrt(static_cast<double>(options_.label_dim));
      embedding = embedding + (*map_label_)(*conditioning.class_labels * scale);
    } else if (map_label_) {
      embedding = embedding + map_label_->bias;  // as labels of zeros
    }
    if (conditioning.augment_labels) {
      embedding = embedding + unet::products::linear(*conditioning.augment_labels, map_augment_);
    }
    return at::silu((*map_layer1_)(at::silu((*map_layer0_)(embedding))));
  }

  unet::BlockSettings block_settings() const {
    return {.embedding_channels = 4 * options_.model_channels,
            .dropout = options_.dropout,
            .skip_scale = std::sqrt(0.5),
            .epsilon = epsilon,
            .qkv_gain = std::sqrt(0.2),
            .filter = options_.resample_filter,
            .attention = options_.attention,
            .recompute = options_.recompute};
  }

  void make_stem(unet::WeightMaker& make) {
    const std::string stem = unet::UNetPlan::name("enc", options_.image, 0) + "conv";
    const std::int64_t channels = options_.model_channels;
    if (!options_.implicit_mlp) {
      stem_.emplace(make, stem, options_.in_channels, channels, 3);
      return;
    }
    implicit_.push_back({make, stem + ".0", options_.in_channels, channels, 1});
    implicit_.push_back({make, stem + ".2", channels, channels, 1});
    implicit_.push_back({make, stem + ".4", channels, channels, 1});
    stem_.emplace(make, stem + ".6", channels, channels, 3);
  }

  void make_encoder_branch(unet::WeightMaker& make) {
    const std::vector<std::int64_t> channels = unet::level_channels(options_);
    std::int64_t from = options_.in_channels;
    for (std::size_t level = 1; level < channels.size(); ++level) {
      const std::string prefix = unet::UNetPlan::name("enc", options_.image, level);
      const std::int64_t to = channels[level - 1];
      if (options_.encoder_type == EncoderType::skip) {
        halved_.push_back({make, prefix + "aux_down", unet::Resample::down, options_.resample_filter});
        skip_.push_back({make, prefix + "aux_skip", from, to, 1});
      } else if (options_.encoder_type == EncoderType::residual) {
        residual_.push_back(
            {make, prefix + "aux_residual", from, to, 3, unet::Resample::down, options_.resample_filter});
        from = to;
      }
    }
  }

  void make_outputs(unet::WeightMaker& make) {
    const std::vector<std::int64_t> channels = unet::level_channels(options_);
    const std::size_t count = options_.decoder_type == DecoderType::skip ? channels.size() : 1;
    for (std::size_t level = 0; level < count; ++level) {
      const std::string prefix = unet::UNetPlan::name("dec", options_.image, level);
      outputs_.push_back({unet::GroupNorm(make, prefix + "aux_norm", channels[level], epsilon),
                          unet::Conv2d(make, prefix + "aux_conv", channels[level], options_.out_channels, 3, 1e-5)});
      if (level + 1 < count) {
        doubled_.push_back({make, prefix + "aux_up", unet::Resample::up, options_.resample_filter});
      }
    }
  }

  SongUNetOptions options_;
  at::Tensor frequencies_{};  ///< of the Fourier embedding
  at::Tensor map_augment_{};
  std::optional<unet::Linear> map_label_, map_layer0_, map_layer1_;
  std::vector<unet::Conv2d> implicit_;  ///< the coordinate stem's 1x1 layers
  std::optional<unet::Conv2d> stem_;
  unet::Levels levels_{};
  std::vector<unet::Conv2d> residual_, skip_;      ///< the encoder's branch, from the second level on
  std::vector<unet::Resampler> halved_, doubled_;  ///< of the encoder's branch, and of the sum of outputs
  std::vector<Output> outputs_;
};

static_assert(TrainableNetwork<SongUNet>, "SongUNet does not fit the concept TrainableNetwork");

}  // namespace patchdiff
