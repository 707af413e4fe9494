// SPDX-License-Identifier: Apache-2.0
#include "support/torch_catch.hpp"

#include <filesystem>
#include <string>

#include <ATen/ATen.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/torch/torch_codec.hpp>

#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

constexpr CodecShape shape{.image_channels = 1, .latent_channels = 4, .factor = 2};

/// Turns blocks of 2x2 pixels into channels, times a weight, and back.
std::filesystem::path script(const TemporaryFolder& folder, const std::string& decode = "decode") {
  torch::jit::Module codec("Codec");
  codec.register_parameter("scale", at::full({}, 3.0F), false);
  codec.define("def encode(self, x):\n  return torch.pixel_unshuffle(x, 2) * self.scale\n");
  codec.define("def " + decode + "(self, z):\n  return torch.pixel_shuffle(z / self.scale, 2)\n");
  codec.save((folder / "codec.pt").string());
  return folder / "codec.pt";
}

TEST_CASE("The codec of a TorchScript file encodes and decodes without gradients") {
  const TemporaryFolder folder;
  const TorchCodec codec = load_script_codec(script(folder), shape);
  CHECK(codec.latent_shape({1, 4, 6}) == ImageShape{4, 2, 3});
  const at::Tensor images = at::linspace(-1, 1, 48).view({2, 1, 4, 6});
  const at::Tensor latents = codec.encode(images);
  CHECK(latents.sizes() == at::IntArrayRef({2, 4, 2, 3}));
  CHECK(!latents.requires_grad());
  CHECK(latents[0][0][0][0].item<float>() == -3);
  CHECK(at::allclose(codec.decode(latents), images));
}

TEST_CASE("A codec that does not do what was said of it is refused") {
  const TemporaryFolder folder;
  const std::string path = script(folder, "decoded").string();
  CHECK_ERROR(DataError, "load_script_codec: " + path + ": expected a module with a method decode, got none",
              load_script_codec(path, shape));
  CHECK_ERROR(FileError, "load_script_codec: " + path + "x: expected a readable file, got none",
              load_script_codec(path + "x", shape));
  const TorchCodec codec([](const at::Tensor& x) { return x; },
                         [](const at::Tensor& z) {
                           return z.repeat({1, 2});
                         },
                         shape);
  CHECK_ERROR(ShapeError, "TorchCodec: images: expected 1 channels, height and width divisible by 2, got 1x3x4",
              codec.encode(at::zeros({1, 1, 3, 4})));
  CHECK_ERROR(ShapeError, "TorchCodec: images: expected rank 4, [N, C, h, w], got [3, 4]",
              codec.encode(at::zeros({3, 4})));
  CHECK_ERROR(DataError, "TorchCodec: encode: expected [1, 4, 2, 2], got [1, 1, 4, 4]",
              codec.encode(at::zeros({1, 1, 4, 4})));
  CHECK_ERROR(ShapeError, "TorchCodec: latents: expected 4 channels, got [1, 3, 2, 2]",
              codec.decode(at::zeros({1, 3, 2, 2})));
  CHECK_THROWS_WITH(codec.decode(at::zeros({1, 4, 2, 2})),
                    ContainsSubstring("TorchCodec: decode: expected a function of [1, 4, 2, 2], got \""));
  CHECK_ERROR(ConfigError, "TorchCodec: factor: expected at least 1, got 0", TorchCodec({}, {}, {.factor = 0}));
}

}  // namespace
}  // namespace patchdiff
