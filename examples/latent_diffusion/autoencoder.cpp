// SPDX-License-Identifier: Apache-2.0
#include "autoencoder.hpp"

#include <fmt/format.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/modules/upsampling.h>
#include <torch/optim/adam.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/data/loader.hpp>

namespace {

namespace pd = patchdiff;

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

}  // namespace

pd::TorchCodec train_autoencoder(const pd::ArrayDataset& source, std::int64_t images) {
  at::manual_seed(1);
  Autoencoder net;
  torch::optim::Adam adam(net->parameters(), torch::optim::AdamOptions(2e-3));
  pd::Loader<pd::TorchBackend, pd::ArrayDataset> loader(source, {}, {.seed = 2});
  constexpr std::int64_t batch = 64;
  for (std::int64_t first = 0; first < images; first += batch) {
    const at::Tensor x = loader.take({.images = batch, .first_image = static_cast<std::uint64_t>(first)}).images;
    const at::Tensor difference = net->decoder->forward(net->encoder->forward(x)) - x;
    adam.zero_grad();
    (difference.square().mean() + difference.abs().mean()).backward();
    adam.step();
    if (first % (100 * batch) == 0) {
      fmt::print("autoencoder  images {:6}  mean squared error {:.4f}\n", first,
                 difference.square().mean().item<double>());
    }
  }
  return {[encoder = net->encoder](const at::Tensor& x) mutable { return encoder->forward(x); },
          [decoder = net->decoder](const at::Tensor& z) mutable { return decoder->forward(z); },
          {.image_channels = 1, .latent_channels = 4, .factor = 4}};
}
