// SPDX-License-Identifier: Apache-2.0
// DDPM++, NCSN++, their variant with skips at every level, and ADM, written plainly with LibTorch's modules: what
// SongUNet and DhariwalUNet must be as fast as, and agree with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numbers>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/song_unet_options.hpp>
#include <patchdiff/nn/torch/dhariwal_unet.hpp>

#include "plain_block.hpp"

/// Weights are named as those of the networks. There are no augmentation labels, implicit stem or dropout.
namespace plain {

/// Layers and constants by name.
class Side : public torch::nn::Module {};

class UNet : public torch::nn::Module {
 public:
  explicit UNet(const patchdiff::SongUNetOptions& options) : UNet(options, false) {}
  explicit UNet(const patchdiff::DhariwalUNetOptions& options)
      : UNet({.image = options.image,
              .in_channels = options.in_channels,
              .out_channels = options.out_channels,
              .label_dim = options.label_dim,
              .model_channels = options.model_channels,
              .channel_mult = options.channel_mult,
              .num_blocks = options.num_blocks,
              .attn_resolutions = options.attn_resolutions},
             true) {}

  /// Shapes: x [N, in_channels, h, w], c_noise [N], labels [N, label_dim].
  at::Tensor forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels) {
    const at::Tensor embedding = embedded(c_noise, labels);
    at::Tensor h = stem_(x), branch = x, sum;
    std::vector<at::Tensor> skips{h};
    for (Level& level : levels_) {
      if (level.down) skips.push_back(h = entered(level, level.down->forward(h, embedding), branch));
      for (const auto& block : level.encoder) skips.push_back(h = block->forward(h, embedding));
    }
    for (auto level = levels_.rbegin(); level != levels_.rend(); ++level) {
      for (const auto& block : level->entry) h = block->forward(h, embedding);
      for (const auto& block : level->decoder) {
        h = block->forward(at::cat({h, skips.back()}, 1), embedding);
        skips.pop_back();
      }
      if (!level->last) continue;
      const at::Tensor output = level->last(at::silu(normed(level->norm, h)));
      sum = sum.defined() ? style_.resampler.doubled(sum) + output : output;
    }
    return sum;
  }

  /// Takes another network's weights and constants, by their names; visits them as `visit_state` does.
  template <class Network>
  void copy_weights(Network& from) {
    const at::NoGradGuard no_grad;
    auto mine = named_parameters();
    mine.update(named_buffers());
    from.visit_state([&](auto name, at::Tensor& value) {
      if (at::Tensor* own = mine.find(std::string(name))) own->copy_(value);
    });
  }

 private:
  using Blocks = std::vector<std::shared_ptr<Block>>;
  struct Level {
    std::shared_ptr<Block> down{};
    torch::nn::Conv2d branch{nullptr};  ///< by which the input enters here
    Blocks encoder{}, entry{}, decoder{};
    torch::nn::GroupNorm norm{nullptr};
    torch::nn::Conv2d last{nullptr};
  };

  UNet(const patchdiff::SongUNetOptions& options, bool adm)
      : options_(options),
        style_{adm, 4 * options.model_channels, Resampler(options.resample_filter)},
        encoder_(register_module("enc", std::make_shared<Side>())),
        decoder_(register_module("dec", std::make_shared<Side>())),
        levels_(options.channel_mult.size()) {
    make_embedding();
    std::vector<std::int64_t> skips{adm ? channels(0) : options.model_channels};
    stem_ = encoder_->register_module(name(0) + "conv", convolution(options.in_channels, skips.back(), 3));
    for (std::size_t level = 0; level < levels_.size(); ++level) make_encoder(level, skips);
    for (std::size_t level = levels_.size(); level-- > 0;) make_decoder(level, skips);
  }

  void make_embedding() {
    const std::int64_t noise = noise_channels(), width = style_.embedding;
    if (options_.embedding_type == patchdiff::EmbeddingType::fourier) {
      const auto map_noise = register_module("map_noise", std::make_shared<Side>());
      frequencies_ = map_noise->register_buffer("freqs", at::randn({noise / 2}) * 16);
    }
    if (const std::int64_t labels = options_.label_dim; labels > 0) {
      const auto layer = torch::nn::LinearOptions(labels, style_.adm ? width : noise).bias(!style_.adm);
      map_label_ = register_module("map_label", torch::nn::Linear(layer));
    }
    map_layer0_ = register_module("map_layer0", torch::nn::Linear(noise, width));
    map_layer1_ = register_module("map_layer1", torch::nn::Linear(width, width));
  }

  void make_encoder(std::size_t level, std::vector<std::int64_t>& skips) {
    const auto add = [&](const std::string& suffix, std::int64_t to, int direction, bool attention) {
      const auto block = std::make_shared<Block>(skips.back(), to, direction, attention, style_);
      skips.push_back(to);
      return encoder_->register_module(name(level) + suffix, block);
    };
    if (level > 0) {
      const std::int64_t width = skips.back();
      levels_[level].down = add("down", width, -1, false);
      make_branch(level, width);
    }
    for (std::int64_t index = 0; index < options_.num_blocks; ++index) {
      levels_[level].encoder.push_back(add(fmt::format("block{}", index), channels(level), 0, attends(level)));
    }
  }

  void make_branch(std::size_t level, std::int64_t to) {
    using enum patchdiff::EncoderType;
    if (options_.encoder_type == skip) {
      levels_[level].branch =
          encoder_->register_module(name(level) + "aux_skip", convolution(options_.in_channels, to, 1));
    } else if (options_.encoder_type == residual) {
      const std::int64_t from = level == 1 ? options_.in_channels : channels(level - 2);
      levels_[level].branch =
          encoder_->register_module(name(level) + "aux_residual", convolution(from, to, 3, style_.resampler.padding()));
    }
  }

  void make_decoder(std::size_t level, std::vector<std::int64_t>& skips) {
    const bool lowest = level + 1 == levels_.size();
    std::int64_t now = channels(lowest ? level : level + 1);
    const auto add = [&](Blocks& blocks, const std::string& suffix, std::int64_t from, std::int64_t to, int direction,
                         bool attention) {
      const auto block = std::make_shared<Block>(from, to, direction, attention, style_);
      blocks.push_back(decoder_->register_module(name(level) + suffix, block));
    };
    Level& made = levels_[level];
    if (lowest) {
      add(made.entry, "in0", now, now, 0, true);
      add(made.entry, "in1", now, now, 0, false);
    } else {
      add(made.entry, "up", now, now, 1, false);
    }
    for (std::int64_t index = 0; index <= options_.num_blocks; ++index) {
      const bool attention = attends(level) && (style_.adm || index == options_.num_blocks);
      add(made.decoder, fmt::format("block{}", index), now + skips.back(), channels(level), 0, attention);
      now = channels(level);
      skips.pop_back();
    }
    if (level > 0 && options_.decoder_type == patchdiff::DecoderType::standard) return;
    torch::nn::Module& owner = style_.adm ? *this : static_cast<torch::nn::Module&>(*decoder_);
    const std::string prefix = style_.adm ? "out_" : name(level) + "aux_";
    made.norm = owner.register_module(prefix + "norm", style_.norm(now));
    made.last = owner.register_module(prefix + "conv", convolution(now, options_.out_channels, 3));
  }

  at::Tensor embedded(const at::Tensor& c_noise, const at::Tensor& labels) {
    const at::Tensor angles = c_noise.unsqueeze(1) * frequencies(c_noise.options());
    const at::Tensor sines = angles.sin(), cosines = angles.cos();
    at::Tensor embedding = style_.adm ? at::cat({cosines, sines}, 1) : at::cat({sines, cosines}, 1);
    if (map_label_ && !style_.adm) {
      embedding = embedding + map_label_(labels * std::sqrt(static_cast<double>(options_.label_dim)));
    }
    embedding = map_layer1_(at::silu(map_layer0_(embedding)));
    if (map_label_ && style_.adm) embedding = embedding + map_label_(labels);
    return at::silu(embedding);
  }

  at::Tensor frequencies(const at::TensorOptions& options) const {
    if (frequencies_.defined()) return frequencies_ * (2 * std::numbers::pi);
    const std::int64_t half = noise_channels() / 2;
    return at::pow(1.0 / 10000, at::arange(half, options) / static_cast<double>(style_.adm ? half : half - 1));
  }

  /// What a lower level begins with.
  at::Tensor entered(Level& level, const at::Tensor& h, at::Tensor& branch) {
    using enum patchdiff::EncoderType;
    if (options_.encoder_type == standard) return h;
    if (options_.encoder_type == residual) {
      return branch = style_.sum(h, style_.resampler.halved(level.branch(branch), 0));
    }
    branch = style_.resampler(branch, -1);
    return h + level.branch(branch);
  }

  std::string name(std::size_t level) const {
    return fmt::format("{}x{}_", options_.image.height >> level, options_.image.width >> level);
  }
  std::int64_t noise_channels() const { return options_.model_channels * options_.channel_mult_noise; }
  std::int64_t channels(std::size_t level) const { return options_.model_channels * options_.channel_mult[level]; }
  bool attends(std::size_t level) const {
    const std::int64_t side = std::max(options_.image.height, options_.image.width) >> level;
    return std::count(options_.attn_resolutions.begin(), options_.attn_resolutions.end(), side) > 0;
  }

  patchdiff::SongUNetOptions options_;
  Style style_;
  std::shared_ptr<Side> encoder_, decoder_;
  at::Tensor frequencies_{};  ///< of the Fourier embedding
  torch::nn::Linear map_label_{nullptr}, map_layer0_{nullptr}, map_layer1_{nullptr};
  torch::nn::Conv2d stem_{nullptr};
  std::vector<Level> levels_;
};

/// What both networks are given, and the gradient of what they give.
struct Example {
  at::Tensor images, c_noise, cotangent;
  patchdiff::Conditioning<patchdiff::TorchBackend> conditioning{};
};

/// Errors: runtime_error where the output or a gradient of a network in `precision` differs from the plain one's in
/// float32 or float64 by more than `tolerance`, relative to the largest value.
template <class Network>
void require_equal(Network& network, UNet& plain, const Example& example, patchdiff::Precision precision,
                   double tolerance) {
  const auto check = [&](const std::string& what, const at::Tensor& got, const at::Tensor& expected) {
    const double error = ((got - expected).abs().max() / expected.abs().max()).template item<double>();
    if (error <= tolerance) return;
    throw std::runtime_error(
        fmt::format("{}: {} differs from the plain network's by {:.2g}", Network::name, what, error));
  };
  network.visit_parameters([](std::string_view, at::Tensor&, at::Tensor& gradient) {
    if (gradient.defined()) gradient.zero_();
  });
  plain.zero_grad();
  const auto record = network.record(example.images, patchdiff::TorchBackend::to_host(example.c_noise),
                                     example.conditioning, {.training = true, .precision = precision});
  network.backward(record, example.cotangent);
  const at::AutoGradMode with_gradients(true);
  const at::Tensor expected =
      plain.forward(example.images, example.c_noise, example.conditioning.class_labels.value_or(at::Tensor()));
  expected.backward(example.cotangent);

  const at::NoGradGuard no_grad;
  check("output", record.root, expected);
  const auto weights = plain.named_parameters();
  network.visit_parameters([&](std::string_view name, at::Tensor&, at::Tensor& gradient) {
    check(fmt::format("gradient of {}", name), gradient, weights[std::string(name)].grad());
  });
}

}  // namespace plain
