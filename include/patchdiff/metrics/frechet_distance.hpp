// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>

#include <Eigen/Core>
#include <Eigen/Eigenvalues>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_checks.hpp>
#include <patchdiff/metrics/feature_statistics.hpp>

namespace patchdiff {

/// The Fréchet distance between two sets of features, as if both were normal: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1
/// S2)^1/2).
///
/// The trace of the root is that of the symmetric (S1^1/2 S2 S1^1/2)^1/2, so no matrix needs to be invertible. Small
/// sets are biased upwards: compare sets of equal size; the log hears of a set whose covariance is singular, as it has
/// no more vectors than features. Errors: ShapeError for sets of other dimensions, DataError for fewer than two
/// vectors, NumericError for a distance that is not finite. Source: Heusel et al. (arXiv 1706.08500), equation 6.
inline double frechet_distance(const FeatureStatistics& first, const FeatureStatistics& second, const Log& log = {}) {
  constexpr FeatureChecks checks{"frechet_distance"};
  checks.same_dimension("second", first.dimension(), second.dimension());
  checks.at_least("first", 2, first.count());
  checks.at_least("second", 2, second.count());
  const auto warn_if_few = [&](std::string_view argument, const FeatureStatistics& set) {
    if (!log || set.count() > set.dimension()) return;
    log(str("frechet_distance: ", argument, ": expected more vectors than features, got ", set.count(), " vectors of ",
            set.dimension(), " features"));
  };
  warn_if_few("first", first);
  warn_if_few("second", second);
  const auto require_finite = [](bool finite) {
    require<NumericError>(finite, "frechet_distance", "distance", "a finite value", "one that overflows");
  };
  using Solver = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>;
  const Eigen::MatrixXd covariance1 = first.covariance(), covariance2 = second.covariance();
  require_finite(covariance1.allFinite() && covariance2.allFinite());
  const Solver solver(covariance1);
  const Eigen::MatrixXd root = solver.eigenvectors() * solver.eigenvalues().cwiseMax(0).cwiseSqrt().asDiagonal() *
                               solver.eigenvectors().transpose();
  const Eigen::MatrixXd product = root * covariance2 * root;
  require_finite(product.allFinite());
  const double overlap = Solver(product, Eigen::EigenvaluesOnly).eigenvalues().cwiseMax(0).cwiseSqrt().sum();
  const double distance =
      (first.mean() - second.mean()).squaredNorm() + covariance1.trace() + covariance2.trace() - 2 * overlap;
  require_finite(std::isfinite(distance));
  return std::max(0.0, distance);
}

}  // namespace patchdiff
