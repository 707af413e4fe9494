// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/silu.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/attention.hpp>
#include <patchdiff/nn/check_arguments.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autograd_network.hpp>
#include <patchdiff/nn/torch/noise_embedding.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>
#include <patchdiff/nn/torch/unet_levels.hpp>
#include <patchdiff/nn/unet_options.hpp>
#include <patchdiff/nn/unet_plan.hpp>

namespace patchdiff {

/// Settings of ADM; the defaults are those of its ImageNet model of 64x64 pixels.
struct DhariwalUNetOptions {
  ImageSize image{};                                      ///< full images; names the levels, whatever the patch
  std::int64_t in_channels = 3 + 2;                       ///< image, coordinate and field channels
  std::int64_t out_channels = 3;                          ///< image channels
  std::int64_t label_dim = 0;                             ///< width of class labels, 0: none
  std::int64_t augment_dim = 0;                           ///< width of augmentation labels, 0: none
  std::int64_t model_channels = 192;                      ///< width of the first level; a multiple of 4
  std::vector<std::int64_t> channel_mult{1, 2, 3, 4};     ///< width of each level, in model_channels
  std::int64_t num_blocks = 3;                            ///< residual blocks a level
  std::vector<std::int64_t> attn_resolutions{32, 16, 8};  ///< as of SongUNetOptions; one head for 64 channels
  double dropout = 0.1;                                   ///< probability, in [0, 1)
  Attention attention = Attention::fused;                 ///< plain has second derivatives
  bool recompute = false;                                 ///< whether backward computes blocks again

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    unet::describe_sizes(self, visit);
    visit("attention", self.attention, "fused is faster, plain has second derivatives");
    visit("recompute", self.recompute, "compute blocks again in backward: less memory, more time");
  }
};

/// The ADM U-Net, with the parameter names of published checkpoints.
///
/// Attention has one head for each 64 channels; a level narrower than that has none, as published.
/// Shapes: [N, in_channels, h, w] to [N, out_channels, h, w], h and w divisible by 2^(levels - 1); labels
/// [N, label_dim], augmentation labels [N, augment_dim]; labels that are not given count as zeros.
/// Errors: ShapeError for arguments that do not fit.
/// Draws: initial weights from the key that the constructor is given, dropout from the pass.
/// Source: Dhariwal and Nichol (arXiv 2105.05233), section 3; EDM (arXiv 2206.00364), appendix F.
class DhariwalUNet : public AutogradNetwork<DhariwalUNet> {
 public:
  using Options = DhariwalUNetOptions;
  static constexpr std::string_view name = "DhariwalUNet";

  /// Errors: ConfigError for settings that cannot work.
  explicit DhariwalUNet(DhariwalUNetOptions options, RandomKey key = {}, TorchDevice device = {})
      : DhariwalUNet(device, std::move(options), key) {}

  /// As SongUNet::unfilled.
  static DhariwalUNet unfilled(DhariwalUNetOptions options, TorchDevice device = {}) {
    return {device, std::move(options), std::nullopt};
  }

  DhariwalUNet clone() const {
    DhariwalUNet copy = unfilled(options_, device());
    copy.copy_state(*this);
    return copy;
  }

  /// Differentiable, for hosts that want more than the gradients that `record` and `backward` give.
  at::Tensor forward(const at::Tensor& input, std::span<const double> c_noise,
                     const Conditioning<TorchBackend>& conditioning, const Pass& pass) const {
    unet::check_arguments(name, *this, input, c_noise, conditioning);
    const auto [stem, embedding] =
        unet::in_float32(device(), [&] { return std::pair((*stem_)(input), embedded(c_noise, conditioning)); });
    std::vector<at::Tensor> skips = levels_.encode(unet::rounded(stem, pass.precision), embedding, pass,
                                                   [](std::size_t, const at::Tensor& entered) { return entered; });
    const at::Tensor x = levels_.decode(std::move(skips), embedding, pass, [](std::size_t, const at::Tensor&) {});
    return (*out_conv_)(out_norm_->with_silu(x));
  }

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t augment_dim() const noexcept { return options_.augment_dim; }
  std::int64_t size_divisor() const noexcept { return unet::size_divisor(options_); }
  const DhariwalUNetOptions& options() const noexcept { return options_; }

 private:
  static constexpr double epsilon = 1e-5;

  DhariwalUNet(TorchDevice device, DhariwalUNetOptions options, std::optional<RandomKey> key)
      : AutogradNetwork(device), options_(unet::checked(name, std::move(options))) {
    unet::WeightMaker make{*this, key, unet::Initialization::fan_in};
    const std::int64_t noise_channels = options_.model_channels;
    const std::int64_t width = 4 * options_.model_channels;
    if (options_.augment_dim > 0) {
      map_augment_ = make.layer("map_augment", {noise_channels, options_.augment_dim}, 0, false).weight;
    }
    map_layer0_.emplace(make, "map_layer0", noise_channels, width);
    map_layer1_.emplace(make, "map_layer1", width, width);
    if (options_.label_dim > 0) {
      map_label_ = make.parameter("map_label.weight", make.normal({width, options_.label_dim}, 1));
    }
    const std::vector<std::int64_t> channels = unet::level_channels(options_);
    stem_.emplace(make, unet::UNetPlan::name("enc", options_.image, 0) + "conv", options_.in_channels, channels.front(),
                  3);
    levels_ = {make, unet::UNetPlan(options_, channels.front(), /*decoder_attends_once=*/false),
               unet::BlockSettings{.embedding_channels = width,
                                   .dropout = options_.dropout,
                                   .epsilon = epsilon,
                                   .last_gain = 0,
                                   .embedding_scales = true,
                                   .resampled_skip_weights = false,
                                   .channels_per_head = 64,
                                   .attention = options_.attention,
                                   .recompute = options_.recompute}};
    out_norm_.emplace(make, "out_norm", channels.front(), epsilon);
    out_conv_.emplace(make, "out_conv", channels.front(), options_.out_channels, 3, 0);
  }

  at::Tensor embedded(std::span<const double> c_noise, const Conditioning<TorchBackend>& conditioning) const {
    const std::int64_t width = options_.model_channels;
    at::Tensor embedding = unet::positional_embedding(c_noise, width, static_cast<double>(width / 2), device());
    if (conditioning.augment_labels) {
      embedding = embedding + unet::products::linear(*conditioning.augment_labels, map_augment_);
    }
    embedding = (*map_layer1_)(at::silu((*map_layer0_)(embedding)));
    if (conditioning.class_labels && map_label_.defined()) {
      embedding = embedding + unet::products::linear(*conditioning.class_labels, map_label_);
    }
    return at::silu(embedding);
  }

  DhariwalUNetOptions options_;
  at::Tensor map_augment_{}, map_label_{};
  std::optional<unet::Linear> map_layer0_, map_layer1_;
  std::optional<unet::Conv2d> stem_;
  unet::Levels levels_{};
  std::optional<unet::GroupNorm> out_norm_;
  std::optional<unet::Conv2d> out_conv_;
};

static_assert(TrainableNetwork<DhariwalUNet>, "DhariwalUNet does not fit the concept TrainableNetwork");

}  // namespace patchdiff
