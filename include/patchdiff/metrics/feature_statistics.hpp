// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Core>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_checks.hpp>

namespace patchdiff {

/// Mean and covariance of feature vectors, taken in batch by batch and merged across processes, in double.
class FeatureStatistics {
 public:
  /// Errors: ConfigError for fewer than one feature.
  explicit FeatureStatistics(std::int64_t dimension) : dimension_(dimension) {
    checks.dimension(dimension);
    mean_ = Eigen::VectorXd::Zero(dimension);
    scatter_ = Eigen::MatrixXd::Zero(dimension, dimension);
  }

  /// Takes in feature vectors that lie one after the other, [N, dimension].
  ///
  /// Errors: ShapeError for a number of values that is no multiple of the dimension; DataError for NaN or infinity.
  void add(std::span<const double> features) {
    const Eigen::Index count = checks.vectors(features, dimension_);
    if (count == 0) return;
    const Eigen::Map<const Eigen::MatrixXd> columns(features.data(), dimension_, count);
    FeatureStatistics batch(dimension_);
    batch.count_ = count;
    batch.mean_ = columns.rowwise().mean();
    const Eigen::MatrixXd centred = columns.colwise() - batch.mean_;
    batch.scatter_ = centred * centred.transpose();
    merge(batch);
  }

  /// Takes in what other statistics have seen.
  ///
  /// Errors: ShapeError for another dimension.
  /// Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
  void merge(const FeatureStatistics& other) {
    checks.same_dimension("other", dimension_, other.dimension_);
    if (other.count_ == 0) return;
    const auto mine = static_cast<double>(count_), theirs = static_cast<double>(other.count_);
    const Eigen::VectorXd difference = other.mean_ - mean_;
    scatter_ += other.scatter_ + difference * difference.transpose() * (mine * theirs / (mine + theirs));
    mean_ += difference * (theirs / (mine + theirs));
    count_ += other.count_;
  }

  /// All there is, for another process: as many numbers for each set of that dimension.
  std::vector<double> packed() const {
    std::vector<double> numbers{static_cast<double>(count_)};
    numbers.insert(numbers.end(), mean_.data(), mean_.data() + mean_.size());
    numbers.insert(numbers.end(), scatter_.data(), scatter_.data() + scatter_.size());
    return numbers;
  }

  /// The statistics that another process packed.
  ///
  /// Errors: ConfigError as the constructor; ShapeError for another number of numbers; DataError for NaN or infinity,
  /// and for a first one that is no count.
  static FeatureStatistics unpacked(std::int64_t dimension, std::span<const double> numbers) {
    FeatureStatistics statistics(dimension);
    const std::int64_t expected = 1 + dimension + dimension * dimension;
    if (static_cast<std::int64_t>(numbers.size()) != expected) {
      refuse<ShapeError>("FeatureStatistics", "numbers", str(expected), str(numbers.size()));
    }
    if (!(numbers[0] >= 0 && numbers[0] <= 0x1p53 && numbers[0] == std::floor(numbers[0]))) {
      refuse<DataError>("FeatureStatistics", "numbers", "a count of vectors first", str(numbers[0]));
    }
    statistics.count_ = static_cast<std::int64_t>(numbers[0]);
    statistics.mean_ = Eigen::Map<const Eigen::VectorXd>(numbers.data() + 1, dimension);
    statistics.scatter_ = Eigen::Map<const Eigen::MatrixXd>(numbers.data() + 1 + dimension, dimension, dimension);
    if (!statistics.mean_.allFinite() || !statistics.scatter_.allFinite()) {
      refuse<DataError>("FeatureStatistics", "numbers", "finite values", "others");
    }
    return statistics;
  }

  std::int64_t dimension() const noexcept { return dimension_; }
  std::int64_t count() const noexcept { return count_; }
  const Eigen::VectorXd& mean() const noexcept { return mean_; }

  /// The unbiased covariance; needs two vectors.
  ///
  /// Errors: DataError for fewer.
  Eigen::MatrixXd covariance() const {
    checks.at_least("features", 2, count_);
    return scatter_ / static_cast<double>(count_ - 1);
  }

 private:
  static constexpr FeatureChecks checks{"FeatureStatistics"};

  std::int64_t dimension_;
  std::int64_t count_ = 0;
  Eigen::VectorXd mean_;
  Eigen::MatrixXd scatter_;
};

}  // namespace patchdiff
