// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/jit/api/module.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/load_script.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/backend/torch/torch_reason.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_extractor.hpp>

namespace patchdiff {

/// What the file's network takes.
struct TorchScriptFeaturesOptions {
  ImageShape image{};                ///< what the network takes; other sizes are resized, grey images repeated
  bool eight_bit = true;             ///< images are first rounded to 256 levels, as stored pictures are
  double black = -1;                 ///< the value that the network takes for black
  double white = 1;                  ///< and for white
  std::vector<double> mean{};        ///< per channel, subtracted from these values; empty: none
  std::vector<double> deviation{};   ///< per channel, what the difference is divided by; empty: none
  std::vector<std::string> flags{};  ///< further arguments of the network, which become true
};

/// Features from a network in a TorchScript file, for example an exported Inception network.
///
/// A TorchScript file is a program: open only one that you trust as much as your own code.
/// Shapes: the network's `forward` takes [N, channels, height, width] and gives [N, D]. The network runs in evaluation
/// mode, in the scalar type of the device, which has to be that of its weights. Images are resized with antialiasing.
/// Errors: ConfigError for options; FileError for no file; DataError for a file that is no TorchScript, or whose
/// network does not run on two black images or does not give [2, D] numbers.
class TorchScriptFeatures {
 public:
  using Backend = TorchBackend;

  TorchScriptFeatures(const std::filesystem::path& file, TorchScriptFeaturesOptions options, TorchDevice device = {})
      : options_(checked(std::move(options))),
        device_(device),
        file_(file.string()),
        network_(load_script(file, device, component)) {
    const auto [channels, height, width] = options_.image;
    at::Tensor black;
    try {
      black = features(at::zeros({2, channels, height, width}, device_.options()) - 1);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      refuse<DataError>(component, file_, str("a network of images ", to_string(options_.image)), torch_reason(error));
    }
    dimension_ = black.size(1);
  }

  /// The features of images in [-1, 1], [N, D], without gradients.
  ///
  /// Errors: ShapeError for other channels; DataError for an output that is not [N, D].
  at::Tensor features(const at::Tensor& images) const {
    const at::NoGradGuard no_grad;
    std::vector<at::IValue> inputs{prepared(images)};
    std::unordered_map<std::string, at::IValue> flags;
    for (const std::string& flag : options_.flags) flags.emplace(flag, true);
    const at::IValue output = network_.get_method("forward")(std::move(inputs), flags);
    const auto refuse_output = [&](const std::string& got) {
      const std::string width = dimension_ == 0 ? "features" : str(dimension_);
      refuse<DataError>(component, file_, str("output [", images.size(0), ", ", width, ']'), got);
    };
    if (!output.isTensor()) refuse_output(output.tagKind());
    const at::Tensor& result = output.toTensor();
    if (!result.is_floating_point() || result.dim() != 2 || result.size(0) != images.size(0) || result.size(1) < 1 ||
        (dimension_ != 0 && result.size(1) != dimension_)) {
      refuse_output(str(at::toString(result.scalar_type()), ' ', to_string(result.sizes().vec())));
    }
    return result;
  }

  std::int64_t dimension() const noexcept { return dimension_; }
  const TorchScriptFeaturesOptions& options() const noexcept { return options_; }

 private:
  static constexpr const char* component = "TorchScriptFeatures";

  static TorchScriptFeaturesOptions checked(TorchScriptFeaturesOptions options) {
    const auto [channels, height, width] = options.image;
    if (channels < 1 || height < 1 || width < 1) {
      refuse<ConfigError>(component, "image", "at least one channel and pixel", to_string(options.image));
    }
    const auto check_channels = [&](std::string_view argument, const std::vector<double>& values) {
      if (values.empty() || static_cast<std::int64_t>(values.size()) == channels) return;
      refuse<ConfigError>(component, argument, str(channels, " values or none"), str(values.size()));
    };
    check_channels("mean", options.mean);
    check_channels("deviation", options.deviation);
    for (const double deviation : options.deviation) {
      require<ConfigError>(deviation > 0, component, "deviation", "above 0", deviation);
    }
    if (!(options.black < options.white)) {
      refuse<ConfigError>(component, "white", str("above ", options.black), str(options.white));
    }
    return options;
  }

  at::Tensor prepared(const at::Tensor& images) const {
    const auto [channels, height, width] = options_.image;
    if (images.dim() != 4 || (images.size(1) != channels && images.size(1) != 1)) {
      refuse<ShapeError>(component, "images", str("[N, ", channels, ", H, W]"), to_string(images.sizes().vec()));
    }
    at::Tensor x = images.to(device_.options());
    if (options_.eight_bit) x = ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1;
    if (x.size(2) != height || x.size(3) != width) x = at::_upsample_bilinear2d_aa(x, {height, width}, false);
    x = (x * ((options_.white - options_.black) / 2) + (options_.white + options_.black) / 2)
            .expand({-1, channels, -1, -1});
    const auto per_channel = [&](const std::vector<double>& values) {
      return TorchBackend::from_host<double>(values, {1, channels, 1, 1}, device_);
    };
    if (!options_.mean.empty()) x = x - per_channel(options_.mean);
    if (!options_.deviation.empty()) x = x / per_channel(options_.deviation);
    return x.contiguous();
  }

  TorchScriptFeaturesOptions options_;
  TorchDevice device_;
  std::string file_;
  torch::jit::Module network_;
  std::int64_t dimension_ = 0;
};

static_assert(FeatureExtractor<TorchScriptFeatures>, "TorchScriptFeatures does not fit the concept FeatureExtractor");

}  // namespace patchdiff
