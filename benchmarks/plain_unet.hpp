// SPDX-License-Identifier: Apache-2.0
// The DDPM++ U-Net written plainly with LibTorch's modules: what SongUNet must be faster than, and agree with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/functional/upsampling.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <patchdiff/nn/song_unet_options.hpp>

/// Weights are named as those of SongUNet. Of its options it knows sizes, labels and attention; the rest is the
/// default.
namespace plain {

inline at::Tensor resampled(const at::Tensor& x, int direction) {
  namespace F = torch::nn::functional;
  if (direction < 0) return at::avg_pool2d(x, 2);
  if (direction == 0) return x;
  return F::interpolate(x, F::InterpolateFuncOptions().scale_factor(std::vector<double>{2, 2}).mode(torch::kNearest));
}

inline torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).padding(kernel / 2));
}

inline torch::nn::GroupNorm group_norm(std::int64_t channels) {
  return torch::nn::GroupNorm(
      torch::nn::GroupNormOptions(std::min<std::int64_t>(32, channels / 4), channels).eps(1e-6));
}

/// Sides are halved (`direction` -1), kept (0) or doubled (1) before the first convolution.
class Block : public torch::nn::Module {
 public:
  Block(std::int64_t in, std::int64_t out, std::int64_t embedding, int direction, bool attention)
      : direction_(direction),
        norm0_(register_module("norm0", group_norm(in))),
        conv0_(register_module("conv0", convolution(in, out, 3))),
        affine_(register_module("affine", torch::nn::Linear(embedding, out))),
        norm1_(register_module("norm1", group_norm(out))),
        conv1_(register_module("conv1", convolution(out, out, 3))) {
    if (in != out || direction != 0) skip_ = register_module("skip", convolution(in, out, 1));
    if (!attention) return;
    norm2_ = register_module("norm2", group_norm(out));
    qkv_ = register_module("qkv", convolution(out, 3 * out, 1));
    proj_ = register_module("proj", convolution(out, out, 1));
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& embedding) {
    at::Tensor h = conv0_(resampled(at::silu(norm0_(x)), direction_));
    h = at::silu(norm1_(h + affine_(embedding).unsqueeze(2).unsqueeze(3)));
    h = (conv1_(h) + (skip_ ? skip_(resampled(x, direction_)) : x)) * std::sqrt(0.5);
    if (!qkv_) return h;
    const std::int64_t channels = h.size(1);
    const auto qkv = qkv_(norm2_(h)).reshape({h.size(0), channels, 3, -1}).unbind(2);
    const at::Tensor weights =
        at::softmax(at::bmm(qkv[0].transpose(1, 2), qkv[1] / std::sqrt(static_cast<double>(channels))), 2);
    const at::Tensor attended = at::bmm(qkv[2], weights.transpose(1, 2));
    return (proj_(attended.reshape(h.sizes())) + h) * std::sqrt(0.5);
  }

 private:
  int direction_;
  torch::nn::GroupNorm norm0_;
  torch::nn::Conv2d conv0_;
  torch::nn::Linear affine_;
  torch::nn::GroupNorm norm1_;
  torch::nn::Conv2d conv1_;
  torch::nn::Conv2d skip_{nullptr};
  torch::nn::GroupNorm norm2_{nullptr};
  torch::nn::Conv2d qkv_{nullptr}, proj_{nullptr};
};

/// Layers by name.
class Side : public torch::nn::Module {};

class UNet : public torch::nn::Module {
 public:
  explicit UNet(const patchdiff::SongUNetOptions& options)
      : options_(options),
        encoder_(register_module("enc", std::make_shared<Side>())),
        decoder_(register_module("dec", std::make_shared<Side>())) {
    const std::int64_t width = options.model_channels;
    if (options.label_dim > 0) {
      map_label_ = register_module("map_label", torch::nn::Linear(options.label_dim, width));
    }
    map_layer0_ = register_module("map_layer0", torch::nn::Linear(width, 4 * width));
    map_layer1_ = register_module("map_layer1", torch::nn::Linear(4 * width, 4 * width));
    stem_ = encoder_->register_module(name(0) + "conv", convolution(options.in_channels, width, 3));
    std::vector<std::int64_t> skips{width};
    const std::size_t levels = options.channel_mult.size();
    for (std::size_t level = 0; level < levels; ++level) {
      const auto add = [&](const std::string& suffix, std::int64_t to, int direction, bool attention) {
        down_.push_back(encoder_->register_module(
            name(level) + suffix, std::make_shared<Block>(skips.back(), to, 4 * width, direction, attention)));
        skips.push_back(to);
      };
      if (level > 0) add("down", skips.back(), -1, false);
      for (std::int64_t index = 0; index < options.num_blocks; ++index) {
        add(fmt::format("block{}", index), channels(level), 0, attends(level));
      }
    }
    std::int64_t now = skips.back();
    for (std::size_t level = levels; level-- > 0;) {
      const auto add = [&](const std::string& suffix, std::int64_t from, int direction, bool attention, bool joins) {
        up_.push_back({decoder_->register_module(name(level) + suffix,
                                                 std::make_shared<Block>(from, joins ? channels(level) : from,
                                                                         4 * width, direction, attention)),
                       joins});
      };
      if (level + 1 == levels) {
        add("in0", now, 0, true, false);
        add("in1", now, 0, false, false);
      } else {
        add("up", now, 1, false, false);
      }
      for (std::int64_t index = 0; index <= options.num_blocks; ++index) {
        add(fmt::format("block{}", index), now + skips.back(), 0, attends(level) && index == options.num_blocks, true);
        now = channels(level);
        skips.pop_back();
      }
    }
    last_norm_ = decoder_->register_module(name(0) + "aux_norm", group_norm(now));
    last_ = decoder_->register_module(name(0) + "aux_conv", convolution(now, options.out_channels, 3));
  }

  /// Shapes: x [N, in_channels, h, w], c_noise [N], labels [N, label_dim].
  at::Tensor forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels) {
    const std::int64_t half = options_.model_channels / 2;
    const at::Tensor exponents = at::arange(half, x.options()) / static_cast<double>(half - 1);
    const at::Tensor angles = c_noise.to(x.options()).unsqueeze(1) * at::pow(1.0 / 10000, exponents);
    at::Tensor embedding = at::cat({angles.sin(), angles.cos()}, 1);
    if (map_label_) embedding = embedding + map_label_(labels * std::sqrt(static_cast<double>(options_.label_dim)));
    embedding = at::silu(map_layer1_(at::silu(map_layer0_(embedding))));
    std::vector<at::Tensor> skips{stem_(x)};
    for (const auto& block : down_) skips.push_back(block->forward(skips.back(), embedding));
    at::Tensor h = skips.back();
    for (const auto& [block, joins] : up_) {
      if (joins) {
        h = at::cat({h, skips.back()}, 1);
        skips.pop_back();
      }
      h = block->forward(h, embedding);
    }
    return last_(at::silu(last_norm_(h)));
  }

  /// Takes another network's weights, by their names; visits them as `visit_state` does.
  template <class Network>
  void copy_weights(Network& from) {
    const at::NoGradGuard no_grad;
    auto mine = named_parameters();
    from.visit_state([&](auto weight, at::Tensor& value) {
      if (at::Tensor* parameter = mine.find(std::string(weight))) parameter->copy_(value);
    });
  }

 private:
  std::string name(std::size_t level) const {
    return fmt::format("{}x{}_", options_.image.height >> level, options_.image.width >> level);
  }
  std::int64_t channels(std::size_t level) const { return options_.model_channels * options_.channel_mult[level]; }
  bool attends(std::size_t level) const {
    const std::int64_t side = std::max(options_.image.height, options_.image.width) >> level;
    return std::count(options_.attn_resolutions.begin(), options_.attn_resolutions.end(), side) > 0;
  }

  patchdiff::SongUNetOptions options_;
  std::shared_ptr<Side> encoder_, decoder_;
  torch::nn::Linear map_label_{nullptr}, map_layer0_{nullptr}, map_layer1_{nullptr};
  torch::nn::Conv2d stem_{nullptr};
  std::vector<std::shared_ptr<Block>> down_;
  std::vector<std::pair<std::shared_ptr<Block>, bool>> up_;  ///< and whether an encoder's output joins its input
  torch::nn::GroupNorm last_norm_{nullptr};
  torch::nn::Conv2d last_{nullptr};
};

}  // namespace plain
