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

/// Writes a classifier with its settings. Errors: FileError.
inline void save_feature_classifier(const std::filesystem::path& path, patchdiff::FeatureClassifier& classifier) {
  patchdiff::save_weights(classifier, path, "",
                          {{"format", "patchdiff"},
                           {"version", "1"},
                           {"network", std::string(patchdiff::FeatureClassifier::name)},
                           {"network_settings", patchdiff::settings_json::text(classifier.options())}});
}

/// Errors: FileError for a file that cannot be read; DataError for one that holds something else.
inline patchdiff::FeatureClassifier load_feature_classifier(const std::filesystem::path& path,
                                                            patchdiff::TorchDevice device = {}) {
  constexpr std::string_view component = "load_feature_classifier";
  const patchdiff::SafetensorsReader file(path);
  const auto value_of = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  const auto require = [&](const char* key, std::string_view expected) {
    const std::string got = value_of(key);
    if (got == expected) return;
    throw patchdiff::DataError(component, path.string(), fmt::format("{} \"{}\"", key, expected),
                               fmt::format("\"{}\"", got));
  };
  require("format", "patchdiff");
  require("network", patchdiff::FeatureClassifier::name);
  patchdiff::require_version(component, path.string(), "1", value_of("version"), "train it anew");
  patchdiff::FeatureClassifier classifier(patchdiff::settings_json::options<patchdiff::FeatureClassifierOptions>(
                                              value_of("network_settings"), path.string()),
                                          {}, device);
  patchdiff::load_weights(classifier, file, path.string(), "");
  return classifier;
}
