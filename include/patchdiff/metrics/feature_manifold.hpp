// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <Eigen/Core>

#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/metrics/feature_checks.hpp>
#include <patchdiff/metrics/feature_products.hpp>
#include <patchdiff/metrics/feature_set.hpp>

namespace patchdiff {

/// Which neighbours make up a manifold.
struct FeatureManifoldOptions {
  std::int64_t neighbour = 3;    ///< which nearest neighbour gives a ball's radius, at least 1
  ExecutorReference executor{};  ///< runs blocks of vectors; changes no result
};

/// Where the vectors of a set lie: balls around each that reach to its k-th nearest neighbour in the set.
///
/// Errors: ConfigError for settings; DataError for a set without a k-th neighbour; NumericError for squared distances
/// that would overflow.
/// Cost: 2 vectors^2 dimension operations to make; in memory a copy of the set, one of the other set while `contains`
/// runs, and 1 MB a thread.
/// Source: Kynkäänniemi et al. (arXiv 1904.06991), equation 1.
class FeatureManifold {
 public:
  explicit FeatureManifold(const FeatureSet& set, FeatureManifoldOptions options = {})
      : options_(options), origin_(Eigen::RowVectorXd::Zero(set.dimension())) {
    require<ConfigError>(options.neighbour >= 1, "FeatureManifold", "neighbour", "at least 1", options.neighbour);
    checks.at_least("set", options.neighbour + 1, set.count());
    origin_ = set.rows().colwise().mean();
    centres_ = around_origin(set);
    square_norms_ = centres_.rowwise().squaredNorm();
    square_radii_.resize(centres_.rows());
    for_blocks(centres_, [&](Eigen::Index first, const auto& block) {
      FeatureMatrix nearest(block.rows(), options_.neighbour);
      nearest.setConstant(std::numeric_limits<double>::infinity());
      for_square_distances(block, [&](Eigen::Index row, Eigen::Index centre, double square) {
        if (first + row != centre) keep_smallest(nearest.row(row), square);
      });
      square_radii_.segment(first, block.rows()) = nearest.col(options_.neighbour - 1);
    });
  }

  /// For each vector of another set, 1 if it lies in one of the balls, and 0 if not.
  ///
  /// Errors: ShapeError for another dimension; NumericError for squared distances that would overflow.
  std::vector<std::uint8_t> contains(const FeatureSet& set) const {
    checks.same_dimension("set", origin_.size(), set.dimension());
    std::vector<std::uint8_t> inside(static_cast<std::size_t>(set.count()), 0);
    for_blocks(around_origin(set), [&](Eigen::Index first, const auto& block) {
      for_square_distances(block, [&](Eigen::Index row, Eigen::Index centre, double square) {
        if (square <= square_radii_[centre]) inside[static_cast<std::size_t>(first + row)] = 1;
      });
    });
    return inside;
  }

  /// The squared radius of each vector's ball.
  const Eigen::VectorXd& square_radii() const noexcept { return square_radii_; }

 private:
  static constexpr FeatureChecks checks{"FeatureManifold"};

  /// Distances are differences of squares, which lose the fewest digits near the origin.
  FeatureMatrix around_origin(const FeatureSet& set) const {
    FeatureMatrix vectors = set.rows().rowwise() - origin_;
    // |x|^2 + |y|^2 + 2 |x y| must be finite: a difference of infinities would pass for a distance of 0.
    if (!(vectors.rowwise().squaredNorm().array() < std::numeric_limits<double>::max() / 4).all()) {
      refuse<NumericError>("FeatureManifold", "set", "finite squared distances", "features whose squares overflow");
    }
    return vectors;
  }

  template <class F>
  void for_blocks(const FeatureMatrix& vectors, const F& f) const {
    constexpr std::int64_t block = 128;
    options_.executor.parallel_for_blocks(vectors.rows(), block, [&](std::int64_t begin, std::int64_t end) {
      f(begin, vectors.middleRows(begin, end - begin));
    });
  }

  /// Calls f(row of the block, centre, squared distance) for all pairs.
  template <class Block, class F>
  void for_square_distances(const Block& block, const F& f) const {
    const Eigen::VectorXd norms = block.rowwise().squaredNorm();
    for_product_blocks(block, centres_, [&](Eigen::Index column, const FeatureMatrix& products) {
      for (Eigen::Index row = 0; row < products.rows(); ++row) {
        for (Eigen::Index i = 0; i < products.cols(); ++i) {
          const double square = norms[row] + square_norms_[column + i] - 2 * products(row, i);
          f(row, column + i, std::max(0.0, square));
        }
      }
    });
  }

  template <class Sorted>
  static void keep_smallest(Sorted&& sorted, double value) {
    Eigen::Index at = sorted.size() - 1;
    if (value >= sorted[at]) return;
    for (; at > 0 && sorted[at - 1] > value; --at) sorted[at] = sorted[at - 1];
    sorted[at] = value;
  }

  FeatureManifoldOptions options_;
  Eigen::RowVectorXd origin_;
  FeatureMatrix centres_{};
  Eigen::VectorXd square_norms_{};
  Eigen::VectorXd square_radii_{};
};

}  // namespace patchdiff
