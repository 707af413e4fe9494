// SPDX-License-Identifier: Apache-2.0
// The residual blocks of the networks in plain_unet.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

namespace plain {

/// Halves and doubles sides by a filter of these taps along both axes.
class Resampler {
 public:
  explicit Resampler(const std::vector<std::int64_t>& taps) : box_(taps == std::vector<std::int64_t>{1, 1}) {
    const at::Tensor line = at::tensor(std::vector<float>(taps.begin(), taps.end()));
    filter_ = at::outer(line, line) / line.sum().square();
  }

  /// After `rim` rows and columns of zeros were put around.
  at::Tensor halved(const at::Tensor& x, std::int64_t rim) const {
    return box_ ? at::avg_pool2d(x, 2, 2, rim) : at::conv2d(x, by_channel(x), {}, 2, rim, 1, x.size(1));
  }
  at::Tensor doubled(const at::Tensor& x) const {
    if (box_) return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
    return at::conv_transpose2d(x, by_channel(x) * 4, {}, 2, padding(), 0, x.size(1));
  }
  at::Tensor operator()(const at::Tensor& x, int direction) const {
    return direction < 0 ? halved(x, padding()) : direction > 0 ? doubled(x) : x;
  }
  std::int64_t padding() const { return (filter_.size(0) - 1) / 2; }

 private:
  at::Tensor by_channel(const at::Tensor& x) const {
    return filter_.to(x.scalar_type()).expand({x.size(1), 1, -1, -1});
  }

  bool box_;
  at::Tensor filter_{};
};

/// What the layers of a network have in common.
struct Style {
  bool adm = false;
  std::int64_t embedding = 0;  ///< channels
  Resampler resampler;

  std::int64_t heads(std::int64_t channels) const { return adm ? channels / 64 : 1; }
  torch::nn::GroupNorm norm(std::int64_t channels) const {
    const std::int64_t groups = std::min<std::int64_t>(32, channels / 4);
    return torch::nn::GroupNorm(torch::nn::GroupNormOptions(groups, channels).eps(adm ? 1e-5 : 1e-6));
  }
  at::Tensor sum(const at::Tensor& x, const at::Tensor& y) const { return adm ? x + y : (x + y) * std::sqrt(0.5); }
};

/// In the weights' type: under autocast LibTorch 1.13 takes no other.
inline at::Tensor normed(torch::nn::GroupNorm& norm, const at::Tensor& x) {
  return norm(x.to(norm->weight.scalar_type()));
}

inline torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                                     std::int64_t more_padding = 0) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).padding(kernel / 2 + more_padding));
}

/// Sides are halved (`direction` -1), kept (0) or doubled (1) before the first convolution.
class Block : public torch::nn::Module {
 public:
  Block(std::int64_t in, std::int64_t out, int direction, bool attention, const Style& style)
      : style_(style),
        direction_(direction),
        heads_(attention ? style.heads(out) : 0),
        norm0_(register_module("norm0", style.norm(in))),
        conv0_(register_module("conv0", convolution(in, out, 3))),
        affine_(register_module("affine", torch::nn::Linear(style.embedding, style.adm ? 2 * out : out))),
        norm1_(register_module("norm1", style.norm(out))),
        conv1_(register_module("conv1", convolution(out, out, 3))) {
    if (in != out || (direction != 0 && !style.adm)) skip_ = register_module("skip", convolution(in, out, 1));
    if (heads_ == 0) return;
    norm2_ = register_module("norm2", style.norm(out));
    qkv_ = register_module("qkv", convolution(out, 3 * out, 1));
    proj_ = register_module("proj", convolution(out, out, 1));
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& embedding) {
    at::Tensor h = conv0_(style_.resampler(at::silu(normed(norm0_, x)), direction_));
    const at::Tensor told = affine_(embedding).unsqueeze(2).unsqueeze(3);
    if (style_.adm) {
      const auto halves = told.chunk(2, 1);
      h = at::addcmul(halves[1], normed(norm1_, h), halves[0] + 1);
    } else {
      h = normed(norm1_, h + told);
    }
    const at::Tensor passed = style_.resampler(x, direction_);
    h = style_.sum(conv1_(at::silu(h)), skip_ ? skip_(passed) : passed);
    return heads_ > 0 ? style_.sum(proj_(attended(h)), h) : h;
  }

 private:
  at::Tensor attended(const at::Tensor& h) {
    const std::int64_t channels = h.size(1) / heads_;
    const auto qkv = qkv_(normed(norm2_, h)).reshape({h.size(0) * heads_, channels, 3, -1}).unbind(2);
    const at::Tensor weights =
        at::softmax(at::bmm(qkv[0].transpose(1, 2), qkv[1] / std::sqrt(static_cast<double>(channels))), 2);
    return at::bmm(qkv[2], weights.transpose(1, 2)).reshape(h.sizes());
  }

  Style style_;
  int direction_;
  std::int64_t heads_;
  torch::nn::GroupNorm norm0_;
  torch::nn::Conv2d conv0_;
  torch::nn::Linear affine_;
  torch::nn::GroupNorm norm1_;
  torch::nn::Conv2d conv1_;
  torch::nn::Conv2d skip_{nullptr};
  torch::nn::GroupNorm norm2_{nullptr};
  torch::nn::Conv2d qkv_{nullptr}, proj_{nullptr};
};

}  // namespace plain
