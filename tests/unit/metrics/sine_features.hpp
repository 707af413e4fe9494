// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/metrics/feature_set.hpp>

namespace patchdiff {

/// Vectors of 4 values in [-1, 1] + shift that look random; reference.py makes the same ones.
inline FeatureSet sine_features(std::size_t count, double step, double shift) {
  std::vector<double> values(4 * count);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = std::sin(step * static_cast<double>(k * k)) + shift;
  FeatureSet set(4);
  set.add(values);
  return set;
}

inline FeatureSet real_features() { return sine_features(400, 1.0, 0); }
inline FeatureSet generated_features() { return sine_features(300, 0.7, 0.25); }

}  // namespace patchdiff
