// SPDX-License-Identifier: Apache-2.0
#include "fashion_features.hpp"

#include <cstddef>
#include <span>
#include <vector>

#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/safetensors_reader.hpp>

#include "fashion_features_weights.hpp"

patchdiff::FeatureClassifier fashion_features(patchdiff::TorchDevice device) {
  const auto bytes = std::as_bytes(std::span(fashion_features_weights));
  const patchdiff::SafetensorsReader file(std::vector<std::byte>(bytes.begin(), bytes.end()), "fashion_features");
  patchdiff::FeatureClassifier classifier({.image = {1, 32, 32}, .classes = 10}, {}, device);
  patchdiff::load_weights(classifier, file, "fashion_features", "");
  return classifier;
}
