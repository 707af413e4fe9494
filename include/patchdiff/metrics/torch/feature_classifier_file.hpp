// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/require_version.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/save_weights.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/metrics/torch/feature_classifier.hpp>

namespace patchdiff {

/// Writes a classifier with its settings. Errors: FileError.
inline void save_feature_classifier(const std::filesystem::path& path, FeatureClassifier& classifier) {
  save_weights(classifier, path, "",
               {{"format", "patchdiff"},
                {"version", "1"},
                {"network", std::string(FeatureClassifier::name)},
                {"network_settings", settings_json::text(classifier.options())}});
}

/// Errors: FileError for a file that cannot be read; DataError for one that holds something else.
inline FeatureClassifier load_feature_classifier(const std::filesystem::path& path, TorchDevice device = {}) {
  constexpr std::string_view component = "load_feature_classifier";
  const SafetensorsReader file(path);
  const auto value_of = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  const auto require = [&](const char* key, std::string_view expected) {
    const std::string got = value_of(key);
    if (got == expected) return;
    throw DataError(component, path.string(), fmt::format("{} \"{}\"", key, expected), fmt::format("\"{}\"", got));
  };
  require("format", "patchdiff");
  require("network", FeatureClassifier::name);
  require_version(component, path.string(), "1", value_of("version"), "train it anew");
  FeatureClassifier classifier(
      settings_json::options<FeatureClassifierOptions>(value_of("network_settings"), path.string()), {}, device);
  load_weights(classifier, file, path.string(), "");
  return classifier;
}

}  // namespace patchdiff
