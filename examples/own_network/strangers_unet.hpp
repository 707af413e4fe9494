// SPDX-License-Identifier: Apache-2.0
// A small U-Net as anybody might have written it, with nothing of patchdiff in it.
#pragma once

#include <cstdint>

#include <torch/nn/cloneable.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

struct StrangersUNetImpl : torch::nn::Cloneable<StrangersUNetImpl> {
  StrangersUNetImpl(std::int64_t in, std::int64_t out, std::int64_t classes, std::int64_t width = 32)
      : in_(in), out_(out), classes_(classes), width_(width) {
    reset();
  }

  void reset() override {
    const auto conv = [](std::int64_t from, std::int64_t to, std::int64_t stride = 1) {
      return torch::nn::Conv2d(torch::nn::Conv2dOptions(from, to, 3).padding(1).stride(stride));
    };
    time1_ = register_module("time1", torch::nn::Linear(1 + classes_, 4 * width_));
    time2_ = register_module("time2", torch::nn::Linear(4 * width_, 2 * width_));
    enter_ = register_module("enter", conv(in_, width_));
    down_ = register_module("down", conv(width_, 2 * width_, 2));
    middle_ = register_module("middle", conv(2 * width_, 2 * width_));
    norm_ = register_module("norm", torch::nn::GroupNorm(8, 2 * width_));
    up_ = register_module("up", conv(2 * width_, width_));
    leave_ = register_module("leave", conv(2 * width_, out_));
  }

  /// x [N, in, h, w] with even h and w, t [N], labels [N, classes] one-hot.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& t, const torch::Tensor& labels) {
    const auto time = time2_(torch::silu(time1_(torch::cat({t.unsqueeze(1), labels}, 1)))).unsqueeze(2).unsqueeze(3);
    const auto fine = torch::silu(enter_(x));
    auto coarse = torch::silu(down_(fine)) + time;
    coarse = coarse + torch::silu(middle_(norm_(coarse)));
    const auto back = torch::silu(up_(torch::upsample_nearest2d(coarse, {fine.size(2), fine.size(3)})));
    return leave_(torch::cat({back, fine}, 1));
  }

 private:
  std::int64_t in_, out_, classes_, width_;
  torch::nn::Linear time1_{nullptr}, time2_{nullptr};
  torch::nn::Conv2d enter_{nullptr}, down_{nullptr}, middle_{nullptr}, up_{nullptr}, leave_{nullptr};
  torch::nn::GroupNorm norm_{nullptr};
};
TORCH_MODULE(StrangersUNet);
