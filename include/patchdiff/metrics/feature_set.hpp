// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_checks.hpp>
#include <patchdiff/metrics/feature_statistics.hpp>
#include <patchdiff/nn/eigen/matrix_product.hpp>

namespace patchdiff {

/// Feature vectors, taken in batch by batch and merged across processes, for metrics that need each of them.
///
/// Metrics that draw vectors see them in their order: processes that are merged in the order of their images give what
/// one process gives. Cost: 8 bytes a feature; what needs no single vector does with FeatureStatistics.
class FeatureSet {
 public:
  /// Errors: ConfigError for fewer than one feature.
  explicit FeatureSet(std::int64_t dimension) : dimension_(dimension) { checks.dimension(dimension); }

  /// Takes in feature vectors that lie one after the other, [N, dimension].
  ///
  /// Errors: ShapeError for a number of values that is no multiple of the dimension; DataError for NaN or infinity.
  void add(std::span<const double> features) {
    checks.vectors(features, dimension_);
    values_.insert(values_.end(), features.begin(), features.end());
  }

  /// Takes in another set's vectors, after its own; of another process, `add` takes what `values` gave there.
  ///
  /// Errors: ShapeError for another dimension.
  void merge(const FeatureSet& other) {
    checks.same_dimension("other", dimension_, other.dimension_);
    const auto before = static_cast<std::ptrdiff_t>(values_.size());
    const std::size_t count = other.values_.size();
    values_.resize(values_.size() + count);
    std::copy_n(other.values_.begin(), count, values_.begin() + before);  // the other set may be this one
  }

  std::int64_t dimension() const noexcept { return dimension_; }
  std::int64_t count() const noexcept { return static_cast<std::int64_t>(values_.size()) / dimension_; }
  const std::vector<double>& values() const noexcept { return values_; }

  /// The vectors as the rows of a matrix, [count, dimension].
  layers::MatrixView<double> rows() const {
    return layers::matrix_view(values_.data(), count(), dimension_, dimension_);
  }

  /// The set of these vectors, each as often as it is named.
  ///
  /// Errors: DataError for a vector that does not exist.
  FeatureSet subset(std::span<const std::int64_t> vectors) const {
    FeatureSet chosen(dimension_);
    chosen.values_.reserve(vectors.size() * static_cast<std::size_t>(dimension_));
    for (const std::int64_t vector : vectors) {
      if (vector < 0 || vector >= count()) {
        refuse<DataError>("FeatureSet", "vectors", str("0 to ", count() - 1), str(vector));
      }
      const auto first = values_.begin() + vector * dimension_;
      chosen.values_.insert(chosen.values_.end(), first, first + dimension_);
    }
    return chosen;
  }

  FeatureStatistics statistics() const {
    FeatureStatistics statistics(dimension_);
    statistics.add(values_);
    return statistics;
  }

 private:
  static constexpr FeatureChecks checks{"FeatureSet"};

  std::int64_t dimension_;
  std::vector<double> values_{};
};

}  // namespace patchdiff
