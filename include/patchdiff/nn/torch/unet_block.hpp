// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/attention.hpp>
#include <patchdiff/nn/torch/autocast_guard.hpp>
#include <patchdiff/nn/torch/recompute.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>
#include <patchdiff/nn/unet_plan.hpp>

namespace patchdiff::unet {

/// Sets each element to zero with the given probability and scales the others up, from keyed draws.
///
/// Draws: element e of sample n in layer l uses word l 2^34 + e of the step's stream `Purpose::dropout` n.
inline at::Tensor dropout(const at::Tensor& x, double probability, const Pass& pass, std::uint64_t layer) {
  if (!pass.training || probability == 0 || x.numel() == 0) return x;
  const Shape shape = TorchBackend::shape(x);
  const std::int64_t row = element_count(shape) / shape[0];
  std::vector<float> mask(static_cast<std::size_t>(element_count(shape)));
  const auto limit = static_cast<std::uint64_t>(probability * 0x1p32);
  const auto kept = static_cast<float>(1 / (1 - probability));
  at::parallel_for(0, shape[0], 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t sample = begin; sample < end; ++sample) {
      const RandomStream stream(pass.key, Purpose::dropout, pass.step,
                                pass.first_sample + static_cast<std::uint64_t>(sample));
      float* out = mask.data() + sample * row;
      for (std::int64_t element = 0; element < row; element += 4) {
        const auto words = stream.block((layer << 32) + static_cast<std::uint64_t>(element) / 4);
        for (std::int64_t word = 0; word < std::min<std::int64_t>(4, row - element); ++word) {
          out[element + word] = words[static_cast<std::size_t>(word)] < limit ? 0.0F : kept;
        }
      }
    }
  });
  const at::Tensor factors = TorchBackend::from_host(std::span<const float>(mask), shape, {x.device(), at::kFloat});
  return (x * factors).to(x.scalar_type());  // in float and rounded once, as bfloat16 has no such factor
}

/// Settings that the blocks of one network share.
struct BlockSettings {
  std::int64_t embedding_channels = 0;
  double dropout = 0;
  double skip_scale = 1;               ///< factor of each sum
  double epsilon = 1e-6;               ///< of group norm
  double qkv_gain = 1;                 ///< initial weights of queries, keys and values
  double last_gain = 1e-5;             ///< initial weights of layers that start as almost nothing
  bool embedding_scales = false;       ///< whether the embedding scales channels too, besides shifting them
  bool resampled_skip_weights = true;  ///< whether a skip that resamples has weights though channels stay
  std::int64_t channels_per_head = 0;  ///< of attention, 0: one head; fewer channels than that: no attention
  ResampleFilter filter{1, 1};
  Attention attention = Attention::fused;
  bool recompute = false;  ///< whether backward computes the block again instead of keeping what it needs
};

/// A residual block: two convolutions under group norm, told the noise level, with optional self-attention behind.
///
/// Errors: ConfigError for channels that do not divide into groups or heads.
class Block {
 public:
  Block(WeightMaker& make, const BlockPlan& plan, const BlockSettings& settings)
      : Block(make, plan.name, plan.in, plan.out, plan.attention, plan.resample, settings, plan.layer) {}
  Block(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out, bool attention,
        Resample resample, const BlockSettings& settings, std::uint64_t layer)
      : first_weight_(make.weights.size()),
        settings_(settings),
        layer_(layer),
        norm0_(make, name + ".norm0", in, settings.epsilon),
        conv0_(make, name + ".conv0", in, out, 3, resample, settings.filter),
        affine_(make, name + ".affine", settings.embedding_channels, settings.embedding_scales ? 2 * out : out),
        norm1_(make, name + ".norm1", out, settings.epsilon),
        conv1_(make, name + ".conv1", out, out, 3, settings.last_gain) {
    const bool resamples = resample != Resample::none;
    if (in != out || (resamples && settings.resampled_skip_weights)) {
      skip_.emplace(make, name + ".skip", in, out, 1, resample, settings.filter);
    } else if (resamples) {
      resampled_skip_.emplace(make, name + ".skip", resample, settings.filter);
    }
    heads_ = !attention ? 0 : settings.channels_per_head == 0 ? 1 : out / settings.channels_per_head;
    if (heads_ > 0) {
      if (out % heads_ != 0) {
        refuse<ConfigError>(name, "channels", str("a multiple of ", heads_, " heads"), str(out));
      }
      norm2_.emplace(make, name + ".norm2", out, settings.epsilon);
      qkv_.emplace(make, name + ".qkv", out, out * 3, 1, settings.qkv_gain);
      projection_.emplace(make, name + ".proj", out, out, 1, settings.last_gain);
    }
    weights_.assign(make.weights.begin() + static_cast<std::ptrdiff_t>(first_weight_), make.weights.end());
  }

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& embedding, const Pass& pass) const {
    if (!settings_.recompute || !at::GradMode::is_enabled()) return output(x, embedding, pass);
    // Backward runs outside the network's autocast; a copy of the block, as the network may be gone by then.
    return recomputed(
        [block = *this, pass](at::TensorList activations) {
          const AutocastGuard autocast(activations[0].device().type(), pass.precision);
          return block.output(activations[0], activations[1], pass);
        },
        {x, embedding}, weights_);
  }

 private:
  at::Tensor output(const at::Tensor& x, const at::Tensor& embedding, const Pass& pass) const {
    at::Tensor h = norm1_.with_silu(conv0_(norm0_.with_silu(x)), told(affine_(embedding)));
    h = conv1_(dropout(h, settings_.dropout, pass, layer_));
    h = scaled_sum(h, skip_ ? (*skip_)(x) : resampled_skip_ ? (*resampled_skip_)(x) : x, settings_.skip_scale);
    return heads_ > 0 ? scaled_sum((*projection_)(attended(h)), h, settings_.skip_scale) : h;
  }

  ChannelChange told(const at::Tensor& embedding) const {
    if (!settings_.embedding_scales) return {.shift = embedding};
    const std::vector<at::Tensor> halves = embedding.chunk(2, 1);
    return {.scale = halves[0], .offset = halves[1]};
  }

  /// Softmax attention over pixels, in float32 or the network's precision where that is higher.
  at::Tensor attended(const at::Tensor& h) const {
    const at::Tensor qkv =
        (*qkv_)((*norm2_)(h)).reshape({h.size(0), heads_, h.size(1) / heads_, 3, h.size(2) * h.size(3)});
    return attend(qkv.select(3, 0), qkv.select(3, 1), qkv.select(3, 2), norm2_->weight.scalar_type(),
                  settings_.attention)
        .reshape(h.sizes());
  }

  std::size_t first_weight_;
  BlockSettings settings_;
  std::uint64_t layer_;
  GroupNorm norm0_;
  Conv2d conv0_;
  Linear affine_;
  GroupNorm norm1_;
  Conv2d conv1_;
  std::optional<Conv2d> skip_{};
  std::optional<Resampler> resampled_skip_{};
  std::int64_t heads_ = 0;
  std::optional<GroupNorm> norm2_{};
  std::optional<Conv2d> qkv_{};
  std::optional<Conv2d> projection_{};
  std::vector<at::Tensor> weights_{};
};

}  // namespace patchdiff::unet
