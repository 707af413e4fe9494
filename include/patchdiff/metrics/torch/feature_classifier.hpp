// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_extractor.hpp>
#include <patchdiff/nn/torch/torch_parameters.hpp>
#include <patchdiff/nn/torch/unet_layers.hpp>

namespace patchdiff {

/// Size of a FeatureClassifier.
struct FeatureClassifierOptions {
  ImageShape image{};         ///< sides divisible by 8
  std::int64_t classes = 10;  ///< at least 2

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("image", self.image, "channels, height and width of the images");
    visit("classes", self.classes, "number of classes");
  }
};

/// A small convolutional classifier whose last hidden layer, 64 units, is a feature space for metrics.
///
/// Three times 3x3 convolution, ReLU and 2x2 maximum (16, 32 and 32 channels), then 64 units with ReLU, then one output
/// per class. Distances are comparable only between the same weights.
class FeatureClassifier : public TorchParameters {
 public:
  using Options = FeatureClassifierOptions;
  static constexpr std::string_view name = "FeatureClassifier";

  /// Errors: ConfigError for settings that cannot work.
  explicit FeatureClassifier(FeatureClassifierOptions options, RandomKey key = {}, TorchDevice device = {})
      : TorchParameters(device), options_(options) {
    const auto [channels, height, width] = options.image;
    if (channels < 1 || height < 8 || width < 8 || height % 8 != 0 || width % 8 != 0) {
      refuse<ConfigError>("FeatureClassifier", "image", "sides divisible by 8", to_string(options.image));
    }
    require<ConfigError>(options.classes >= 2, "FeatureClassifier", "classes", "at least 2", options.classes);
    unet::WeightMaker make{*this, key};
    convolutions_.emplace_back(make, "conv0", channels, 16, 3);
    convolutions_.emplace_back(make, "conv1", 16, 32, 3);
    convolutions_.emplace_back(make, "conv2", 32, 32, 3);
    linears_.emplace_back(make, "hidden", 32 * (height / 8) * (width / 8), units);
    linears_.emplace_back(make, "output", units, options.classes);
  }

  /// The 64 units of each image, [N, 64], without gradients. Errors: ShapeError for images of another size.
  at::Tensor features(const at::Tensor& images) const {
    const at::NoGradGuard no_grad;
    return hidden(images);
  }

  /// One logit per class, [N, classes], for training. Errors: ShapeError for images of another size.
  at::Tensor logits(const at::Tensor& images) const { return linears_[1](hidden(images)); }

  std::int64_t dimension() const noexcept { return units; }
  const FeatureClassifierOptions& options() const noexcept { return options_; }

 private:
  static constexpr std::int64_t units = 64;

  at::Tensor hidden(const at::Tensor& images) const {
    const auto [channels, height, width] = options_.image;
    if (images.dim() != 4 || images.sizes().slice(1) != at::IntArrayRef({channels, height, width})) {
      refuse<ShapeError>("FeatureClassifier", "images", str("[N, ", channels, ", ", height, ", ", width, ']'),
                         to_string(images.sizes().vec()));
    }
    at::Tensor x = images;
    for (const unet::Conv2d& convolution : convolutions_) x = at::max_pool2d(at::relu(convolution(x)), {2, 2});
    return at::relu(linears_[0](x.flatten(1)));
  }

  FeatureClassifierOptions options_;
  std::vector<unet::Conv2d> convolutions_;
  std::vector<unet::Linear> linears_;
};

static_assert(FeatureExtractor<FeatureClassifier>, "FeatureClassifier does not fit the concept FeatureExtractor");

}  // namespace patchdiff
