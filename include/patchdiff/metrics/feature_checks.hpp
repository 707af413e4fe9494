// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// What whoever collects features asks of them; `component` is the one that error messages name.
struct FeatureChecks {
  std::string_view component;

  /// Errors: ConfigError for fewer than one feature.
  void dimension(std::int64_t dimension) const {
    require<ConfigError>(dimension >= 1, component, "dimension", "at least 1", dimension);
  }

  /// The number of vectors that lie one after the other.
  ///
  /// Errors: ShapeError for a number of values that is no multiple of the dimension; DataError for NaN or infinity,
  /// which a metric could take for a perfect score.
  std::int64_t vectors(std::span<const double> features, std::int64_t dimension) const {
    const auto count = static_cast<std::int64_t>(features.size());
    if (count % dimension != 0) {
      refuse<ShapeError>(component, "features", str("vectors of ", dimension, " values"), str(count, " values"));
    }
    const auto wrong = std::find_if_not(features.begin(), features.end(), [](double x) { return std::isfinite(x); });
    if (wrong != features.end()) {
      refuse<DataError>(component, "features", "finite values",
                        str(*wrong, " in vector ", (wrong - features.begin()) / dimension));
    }
    return count / dimension;
  }

  /// Errors: ShapeError for features of another dimension.
  void same_dimension(std::string_view argument, std::int64_t expected, std::int64_t dimension) const {
    if (dimension == expected) return;
    refuse<ShapeError>(component, argument, str(expected, " features"), str(dimension));
  }

  /// Errors: DataError for fewer vectors.
  void at_least(std::string_view argument, std::int64_t least, std::int64_t count) const {
    if (count >= least) return;
    refuse<DataError>(component, argument, str("at least ", least, " vector", least == 1 ? "" : "s"), str(count));
  }
};

}  // namespace patchdiff
