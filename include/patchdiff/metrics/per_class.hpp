// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_checks.hpp>

namespace patchdiff {

/// One FeatureStatistics or FeatureSet per class, for metrics of each class: `frechet_distance(real[c], generated[c])`.
///
/// Shapes: a batch is feature vectors that lie one after the other, [N, dimension], and one class label each.
template <class Features>
class PerClass {
 public:
  /// Errors: ConfigError for fewer than one class or feature.
  PerClass(std::int64_t classes, std::int64_t dimension) {
    require<ConfigError>(classes >= 1, "PerClass", "classes", "at least 1", classes);
    features_.assign(static_cast<std::size_t>(classes), Features(dimension));
  }

  /// Takes in a whole batch or nothing of it.
  ///
  /// Errors: ShapeError for another number of values; DataError for an unknown label, NaN or infinity.
  void add(std::span<const double> features, std::span<const std::int64_t> labels) {
    const auto dimension = static_cast<std::size_t>(features_.front().dimension());
    if (features.size() != labels.size() * dimension) {
      refuse<ShapeError>("PerClass", "features", str(labels.size(), " vectors of ", dimension, " values"),
                         str(features.size(), " values"));
    }
    FeatureChecks{"PerClass"}.vectors(features, features_.front().dimension());
    std::vector<std::vector<double>> sorted(features_.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const auto vector = features.subspan(i * dimension, dimension);
      std::vector<double>& of_class = sorted[index("labels", labels[i])];
      of_class.insert(of_class.end(), vector.begin(), vector.end());
    }
    for (std::size_t i = 0; i < sorted.size(); ++i) features_[i].add(sorted[i]);
  }

  /// Takes in what another has seen, class by class.
  ///
  /// Errors: ShapeError for other classes or another dimension.
  void merge(const PerClass& other) {
    if (other.classes() != classes()) {
      refuse<ShapeError>("PerClass", "other", str(classes(), " classes"), str(other.classes()));
    }
    for (std::size_t i = 0; i < features_.size(); ++i) features_[i].merge(other.features_[i]);
  }

  std::int64_t classes() const noexcept { return static_cast<std::int64_t>(features_.size()); }

  /// The features of a class.
  ///
  /// Errors: DataError for an unknown one.
  const Features& operator[](std::int64_t label) const { return features_[index("label", label)]; }

 private:
  std::size_t index(std::string_view argument, std::int64_t label) const {
    if (label < 0 || label >= classes()) {
      refuse<DataError>("PerClass", argument, str("0 to ", classes() - 1), str(label));
    }
    return static_cast<std::size_t>(label);
  }

  std::vector<Features> features_{};
};

}  // namespace patchdiff
