// SPDX-License-Identifier: Apache-2.0
// Networks whose features tell how alike images are.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/image_size.hpp>

/// How images are shown to a network of a TorchScript file.
struct FeatureSettings {
  std::string features{};
  std::vector<std::int64_t> features_image{};
  double features_black = -1;
  double features_white = 1;
  std::vector<double> features_mean{};
  std::vector<double> features_deviation{};
  std::vector<std::string> features_flags{};

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("features", self.features,
          "TorchScript file, or one that features wrote; without, the features for Fashion-MNIST");
    visit("features_image", self.features_image,
          "channels,height,width that the TorchScript network takes, as 3,299,299; else as the images are");
    visit("features_black", self.features_black, "value that it takes for black");
    visit("features_white", self.features_white, "value that it takes for white");
    visit("features_mean", self.features_mean, "what is subtracted from these values, by channel");
    visit("features_deviation", self.features_deviation, "what the difference is divided by, by channel");
    visit("features_flags", self.features_flags, "arguments of its forward that become true, as return_features");
  }
};

/// A network for images of one shape.
class FeatureNetwork {
 public:
  /// Opens the network of the settings for images that are stored in this shape.
  ///
  /// Errors: FileError and DataError for a file of no such network; ConfigError and DataError for one of other images.
  FeatureNetwork(const FeatureSettings& settings, patchdiff::ImageShape stored, patchdiff::TorchDevice device);

  /// Features of images, [N, C, H, W] in host memory and centred as `centred` does, one vector after the other.
  std::vector<double> operator()(const at::Tensor& images) const;

  const std::string& name() const noexcept { return name_; }
  std::int64_t dimension() const noexcept { return dimension_; }

 private:
  template <class Network>
  void take(Network network, patchdiff::TorchDevice device);

  std::string name_;
  patchdiff::ImageSize size_{};  ///< at which images are compared
  std::int64_t dimension_ = 0;
  std::function<at::Tensor(const at::Tensor&)> features_{};
};

/// Images with black around them, or without their borders: a size's half pixel goes to the bottom and right.
at::Tensor centred(const at::Tensor& images, patchdiff::ImageSize size);
