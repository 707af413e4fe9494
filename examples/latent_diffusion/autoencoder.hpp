// SPDX-License-Identifier: Apache-2.0
// A tiny autoencoder: images of 1x32x32 to latents of 4x8x8 and back.
#pragma once

#include <cstdint>

#include <torch/nn/cloneable.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/modules/upsampling.h>

struct AutoencoderImpl : torch::nn::Cloneable<AutoencoderImpl> {
  AutoencoderImpl() { reset(); }

  void reset() override {
    const auto conv = [](std::int64_t from, std::int64_t to, std::int64_t stride = 1) {
      return torch::nn::Conv2d(torch::nn::Conv2dOptions(from, to, 3).padding(1).stride(stride));
    };
    const auto doubled = [] { return torch::nn::Upsample(torch::nn::UpsampleOptions().scale_factor({{2.0, 2.0}})); };
    encoder = register_module(
        "encoder", torch::nn::Sequential(conv(1, 32, 2), torch::nn::SiLU(), conv(32, 64, 2), torch::nn::SiLU(),
                                         conv(64, 64), torch::nn::SiLU(), conv(64, 4)));
    decoder =
        register_module("decoder", torch::nn::Sequential(conv(4, 64), torch::nn::SiLU(), conv(64, 64),
                                                         torch::nn::SiLU(), doubled(), conv(64, 32), torch::nn::SiLU(),
                                                         doubled(), conv(32, 32), torch::nn::SiLU(), conv(32, 1)));
  }

  torch::nn::Sequential encoder{nullptr}, decoder{nullptr};
};
TORCH_MODULE(Autoencoder);
