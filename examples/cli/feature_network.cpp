// SPDX-License-Identifier: Apache-2.0
#include "feature_network.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/ops/constant_pad_nd.h>
#include <fmt/format.h>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/io/mapped_file.hpp>
#include <patchdiff/metrics/torch/torch_script_features.hpp>

#include "command_line.hpp"
#include "fashion_features.hpp"
#include "feature_classifier_file.hpp"

namespace pd = patchdiff;

namespace {

constexpr std::string_view component = "features";

/// Whether the file is TorchScript, which is a ZIP archive; else it is safetensors, which has a JSON header.
///
/// Errors: FileError; DataError for neither.
bool is_torch_script(const std::string& path) {
  const pd::MappedFile file(path, component);
  const auto byte = [&](std::size_t at) {
    return at < file.bytes().size() ? static_cast<char>(file.bytes()[at]) : ' ';
  };
  if (byte(0) == 'P' && byte(1) == 'K') return true;
  if (byte(8) == '{') return false;
  throw pd::DataError(component, path, "a TorchScript file, or one that patchdiff features wrote", "another file");
}

pd::TorchScriptFeaturesOptions script_options(const FeatureSettings& settings, pd::ImageShape stored) {
  pd::TorchScriptFeaturesOptions options{.image = stored,
                                         .black = settings.features_black,
                                         .white = settings.features_white,
                                         .mean = settings.features_mean,
                                         .deviation = settings.features_deviation,
                                         .flags = settings.features_flags};
  if (const auto& image = settings.features_image; !image.empty()) {
    if (image.size() != 3) {
      throw pd::ConfigError("evaluate", "--features-image", "channels,height,width",
                            fmt::format("{} numbers", image.size()));
    }
    options.image = {image[0], image[1], image[2]};
  }
  return options;
}

/// Errors: ConfigError for a setting of how images are shown to a TorchScript network.
void require_no_script_options(const FeatureSettings& settings) {
  std::map<std::string_view, std::string> texts;
  const FeatureSettings defaults{.features = settings.features};
  pd::describe(defaults,
               [&](std::string_view key, const auto& value, std::string_view) { texts[key] = setting_text(value); });
  pd::describe(settings, [&](std::string_view key, const auto& value, std::string_view) {
    if (const std::string given = setting_text(value); given != texts[key]) {
      throw pd::ConfigError("evaluate", option_name(key), "none without a TorchScript file in --features", given);
    }
  });
}

}  // namespace

FeatureNetwork::FeatureNetwork(const FeatureSettings& settings, pd::ImageShape stored, pd::TorchDevice device)
    : name_(settings.features.empty() ? "Fashion-MNIST" : settings.features) {
  if (!settings.features.empty() && is_torch_script(settings.features)) {
    size_ = stored.size();
    take(pd::TorchScriptFeatures(settings.features, script_options(settings, stored), device), device);
    return;
  }
  require_no_script_options(settings);
  pd::FeatureClassifier classifier =
      settings.features.empty() ? fashion_features(device) : load_feature_classifier(settings.features, device);
  const pd::ImageShape taken = classifier.options().image;
  if (taken.channels != stored.channels || !fits(stored.size(), taken.size())) {
    throw pd::DataError(component, name_, fmt::format("a network for images of {}", to_string(stored)),
                        fmt::format("one for {}", to_string(taken)));
  }
  size_ = taken.size();
  take(std::move(classifier), device);
}

template <class Network>
void FeatureNetwork::take(Network network, pd::TorchDevice device) {
  dimension_ = network.dimension();
  const auto held = std::make_shared<Network>(std::move(network));
  features_ = [held, device](const at::Tensor& images) { return held->features(images.to(device.options())); };
}

std::vector<double> FeatureNetwork::operator()(const at::Tensor& images) const {
  return pd::TorchBackend::to_host(features_(centred(images, size_)));
}

at::Tensor centred(const at::Tensor& images, pd::ImageSize size) {
  const std::int64_t rows = size.height - images.size(2), columns = size.width - images.size(3);
  return at::constant_pad_nd(images, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2}, -1);
}
