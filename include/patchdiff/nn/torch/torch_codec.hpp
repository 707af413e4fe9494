// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <patchdiff/backend/torch/load_script.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/backend/torch/torch_reason.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/codec.hpp>

namespace patchdiff {

/// What a codec does to the shape of images.
struct CodecShape {
  std::int64_t image_channels = 3;
  std::int64_t latent_channels = 4;
  std::int64_t factor = 8;  ///< of each side of an image to that of its latent

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("image_channels", self.image_channels, "channels of images");
    visit("latent_channels", self.latent_channels, "channels of latents");
    visit("factor", self.factor, "how many times larger the sides of images are than those of latents");
  }
};

/// A codec of two functions, for example the halves of a `torch::nn::Module`. Both run without gradients.
class TorchCodec {
 public:
  using Backend = TorchBackend;
  using Function = std::function<at::Tensor(const at::Tensor&)>;

  /// Errors: ConfigError for a shape that cannot be.
  TorchCodec(Function encode, Function decode, CodecShape shape, TorchDevice device = {},
             std::string source = "TorchCodec")
      : encode_(std::move(encode)),
        decode_(std::move(decode)),
        shape_(shape),
        device_(device),
        source_(std::move(source)) {
    CodecShape::describe(shape_, [&](std::string_view key, std::int64_t value, std::string_view) {
      require<ConfigError>(value >= 1, source_, key, "at least 1", value);
    });
  }

  /// The shape of the latents of such images. Errors: ShapeError for images that the codec does not take.
  ImageShape latent_shape(ImageShape image) const {
    const auto [channels, height, width] = image;
    if (channels != shape_.image_channels || height % shape_.factor != 0 || width % shape_.factor != 0) {
      refuse<ShapeError>(source_, "images",
                         str(shape_.image_channels, " channels, height and width divisible by ", shape_.factor),
                         to_string(image));
    }
    return {shape_.latent_channels, height / shape_.factor, width / shape_.factor};
  }

  /// Errors: ShapeError as of `latent_shape`; DataError where the function throws or gives another shape.
  at::Tensor encode(const at::Tensor& images) const {
    require_rank(images, "images");
    const ImageShape latent = latent_shape({images.size(1), images.size(2), images.size(3)});
    return call(encode_, "encode", images, {images.size(0), latent.channels, latent.height, latent.width});
  }

  /// Errors: ShapeError for other latents; DataError where the function throws or gives another shape.
  at::Tensor decode(const at::Tensor& latents) const {
    require_rank(latents, "latents");
    if (latents.size(1) != shape_.latent_channels) {
      refuse<ShapeError>(source_, "latents", str(shape_.latent_channels, " channels"),
                         to_string(latents.sizes().vec()));
    }
    return call(
        decode_, "decode", latents,
        {latents.size(0), shape_.image_channels, latents.size(2) * shape_.factor, latents.size(3) * shape_.factor});
  }

  TorchDevice device() const noexcept { return device_; }
  const CodecShape& shape() const noexcept { return shape_; }

 private:
  void require_rank(const at::Tensor& tensor, std::string_view argument) const {
    if (tensor.dim() == 4) return;
    refuse<ShapeError>(source_, argument, "rank 4, [N, C, h, w]", to_string(tensor.sizes().vec()));
  }

  at::Tensor call(const Function& function, std::string_view name, const at::Tensor& input,
                  const Shape& expected) const {
    const at::NoGradGuard no_grad;
    at::Tensor output;
    try {
      output = function(input.to(device_.options()));
    } catch (const std::exception& error) {
      refuse<DataError>(source_, name, str("a function of ", to_string(input.sizes().vec())), torch_reason(error));
    }
    if (!output.defined() || output.sizes().vec() != expected) {
      refuse<DataError>(source_, name, to_string(expected),
                        output.defined() ? to_string(output.sizes().vec()) : "none");
    }
    return output.to(device_.options());
  }

  Function encode_, decode_;
  CodecShape shape_;
  TorchDevice device_;
  std::string source_;
};

static_assert(Codec<TorchCodec>);

/// The codec of a TorchScript file: its methods `encode` and `decode`, of one tensor each.
///
/// A TorchScript file is a program: open only one that you trust as much as your own code.
/// Errors: as of `load_script`; DataError for a file without such methods.
inline TorchCodec load_script_codec(const std::filesystem::path& file, CodecShape shape, TorchDevice device = {}) {
  constexpr const char* component = "load_script_codec";
  const auto module = std::make_shared<torch::jit::Module>(load_script(file, device, component));
  module->to(device.scalar);
  const auto method = [&](const std::string& name) -> TorchCodec::Function {
    if (!module->find_method(name)) {
      refuse<DataError>(component, file.string(), str("a module with a method ", name), "none");
    }
    return [module, name](const at::Tensor& input) {
      const at::IValue output = module->get_method(name)({input});
      return output.isTensor() ? output.toTensor() : at::Tensor();
    };
  };
  return {method("encode"), method("decode"), shape, device, str(component, ": ", file.string())};
}

}  // namespace patchdiff
