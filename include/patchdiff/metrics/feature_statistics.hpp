// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include <fmt/format.h>
#include <Eigen/Core>

#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// Mean and covariance of feature vectors, taken in batch by batch and merged across processes, in double.
class FeatureStatistics {
 public:
  /// Errors: ConfigError for fewer than one feature.
  explicit FeatureStatistics(std::int64_t dimension) : dimension_(dimension) {
    if (dimension < 1) {
      throw ConfigError("FeatureStatistics", "dimension", "at least 1", fmt::format("{}", dimension));
    }
    mean_ = Eigen::VectorXd::Zero(dimension);
    scatter_ = Eigen::MatrixXd::Zero(dimension, dimension);
  }

  /// Takes in feature vectors that lie one after the other, [N, dimension].
  ///
  /// Errors: ShapeError for a number of values that is no multiple of the dimension.
  void add(std::span<const double> features) {
    if (static_cast<std::int64_t>(features.size()) % dimension_ != 0) {
      throw ShapeError("FeatureStatistics", "features", fmt::format("vectors of {} values", dimension_),
                       fmt::format("{} values", features.size()));
    }
    if (features.empty()) return;
    const Eigen::Index count = static_cast<Eigen::Index>(features.size()) / dimension_;
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
    if (other.dimension_ != dimension_) {
      throw ShapeError("FeatureStatistics", "other", fmt::format("{} features", dimension_),
                       fmt::format("{}", other.dimension_));
    }
    if (other.count_ == 0) return;
    const auto mine = static_cast<double>(count_), theirs = static_cast<double>(other.count_);
    const Eigen::VectorXd difference = other.mean_ - mean_;
    scatter_ += other.scatter_ + difference * difference.transpose() * (mine * theirs / (mine + theirs));
    mean_ += difference * (theirs / (mine + theirs));
    count_ += other.count_;
  }

  std::int64_t dimension() const noexcept { return dimension_; }
  std::int64_t count() const noexcept { return count_; }
  const Eigen::VectorXd& mean() const noexcept { return mean_; }

  /// The unbiased covariance; needs two vectors.
  ///
  /// Errors: DataError for fewer.
  Eigen::MatrixXd covariance() const {
    if (count_ < 2) {
      throw DataError("FeatureStatistics", "features", "at least 2 vectors", fmt::format("{}", count_));
    }
    return scatter_ / static_cast<double>(count_ - 1);
  }

 private:
  std::int64_t dimension_;
  std::int64_t count_ = 0;
  Eigen::VectorXd mean_;
  Eigen::MatrixXd scatter_;
};

}  // namespace patchdiff
