// SPDX-License-Identifier: Apache-2.0
// The host's network. It was written for something else and has nothing of patchdiff in it.
#pragma once

#include <cstdint>

#include <torch/nn/cloneable.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

class StrokesNetImpl : public torch::nn::Cloneable<StrokesNetImpl> {
 public:
  StrokesNetImpl(std::int64_t in, std::int64_t out, std::int64_t width) : in_(in), out_(out), width_(width) { reset(); }

  void reset() override {
    const auto conv = [](std::int64_t from, std::int64_t to) {
      return torch::nn::Conv2d(torch::nn::Conv2dOptions(from, to, 3).padding(1));
    };
    level_ = register_module("level", torch::nn::Linear(1, width_));
    head_ = register_module("head", conv(in_, width_));
    wide_ = register_module("wide", conv(width_, width_));
    deep_ = register_module("deep", conv(width_, width_));
    tail_ = register_module("tail", conv(2 * width_, out_));
  }

  /// pixels [N, in, h, w] with even h and w, level [N].
  torch::Tensor forward(const torch::Tensor& pixels, const torch::Tensor& level) {
    const torch::Tensor near = torch::silu(head_(pixels));
    torch::Tensor far = torch::avg_pool2d(near, 2) + level_(level.unsqueeze(1)).unsqueeze(2).unsqueeze(3);
    far = torch::silu(wide_(far));
    far = far + torch::silu(deep_(far));
    return tail_(torch::cat({near, torch::upsample_nearest2d(far, {near.size(2), near.size(3)})}, 1));
  }

 private:
  std::int64_t in_, out_, width_;
  torch::nn::Linear level_{nullptr};
  torch::nn::Conv2d head_{nullptr}, wide_{nullptr}, deep_{nullptr}, tail_{nullptr};
};
TORCH_MODULE(StrokesNet);
