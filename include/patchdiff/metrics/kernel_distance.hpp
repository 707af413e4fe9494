// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/metrics/feature_checks.hpp>
#include <patchdiff/metrics/feature_products.hpp>
#include <patchdiff/metrics/feature_set.hpp>

namespace patchdiff {

/// Subsets of kernel_distance.
struct KernelDistanceOptions {
  std::int64_t subsets = 100;       ///< at least 1
  std::int64_t subset_size = 1000;  ///< vectors of each set in a subset, at least 2
  std::uint64_t seed = 0;
  ExecutorReference executor{};  ///< runs subsets; changes no result
};

/// Mean and standard deviation over the subsets; the mean's own error is smaller, by up to sqrt(subsets).
struct KernelDistance {
  double mean = 0;
  double deviation = 0;
};

/// The unbiased squared maximum mean discrepancy of two sets of features under the kernel (x . y / dimension + 1)^3.
///
/// May be negative. Errors: ShapeError for sets of other dimensions, DataError for fewer than two vectors.
/// Source: Bińkowski et al. (arXiv 1801.01401), section 3 and equation 4; Gretton et al. (2012), lemma 6.
inline double kernel_discrepancy(const FeatureSet& first, const FeatureSet& second) {
  constexpr FeatureChecks checks{"kernel_discrepancy"};
  checks.same_dimension("second", first.dimension(), second.dimension());
  checks.at_least("first", 2, first.count());
  checks.at_least("second", 2, second.count());
  const auto dimension = static_cast<double>(first.dimension());
  const auto kernel = [&](const auto& products) { return (products.array() / dimension + 1).cube(); };
  const auto mean_across = [&] {
    double sum = 0;
    for_product_blocks(first.rows(), second.rows(),
                       [&](Eigen::Index, const FeatureMatrix& products) { sum += kernel(products).sum(); });
    return sum / (static_cast<double>(first.count()) * static_cast<double>(second.count()));
  };
  const auto mean_of_pairs = [&](const FeatureSet& set) {
    double sum = 0;
    for_product_blocks(set.rows(), set.rows(), [&](Eigen::Index column, const FeatureMatrix& products) {
      sum += kernel(products).sum() - kernel(products.middleRows(column, products.cols()).diagonal()).sum();
    });
    const auto count = static_cast<double>(set.count());
    return sum / (count * (count - 1));
  };
  return mean_of_pairs(first) + mean_of_pairs(second) - 2 * mean_across();
}

/// The kernel distance of two sets of features (KID, where features are an Inception network's): the discrepancy of
/// subsets without repetition, drawn again for each.
///
/// Unbiased, so sets of any size can be compared, also with fewer vectors than features.
/// Errors: ConfigError for settings; ShapeError for sets of other dimensions; DataError for a set smaller than a
/// subset. Draws: `Purpose::metric_subset`, step = subset, sample = 0 for the first set and 1 for the second. Cost: 6
/// subsets subset_size^2 dimension operations. Source: Bińkowski et al. (arXiv 1801.01401), section 4; subsets as in
/// their code.
inline KernelDistance kernel_distance(const FeatureSet& first, const FeatureSet& second,
                                      const KernelDistanceOptions& options = {}) {
  require<ConfigError>(options.subsets >= 1, "kernel_distance", "subsets", "at least 1", options.subsets);
  require<ConfigError>(options.subset_size >= 2, "kernel_distance", "subset_size", "at least 2", options.subset_size);
  constexpr FeatureChecks checks{"kernel_distance"};
  checks.same_dimension("second", first.dimension(), second.dimension());
  checks.at_least("first", options.subset_size, first.count());
  checks.at_least("second", options.subset_size, second.count());

  const auto draw = [&](const FeatureSet& set, std::int64_t subset, std::uint64_t side) {
    const RandomStream stream({options.seed}, Purpose::metric_subset, static_cast<std::uint64_t>(subset), side);
    std::vector<std::int64_t> vectors(static_cast<std::size_t>(set.count()));
    std::iota(vectors.begin(), vectors.end(), std::int64_t{0});
    const auto size = static_cast<std::size_t>(options.subset_size);
    for (std::size_t i = 0; i < size; ++i) std::swap(vectors[i], vectors[i + stream.below(vectors.size() - i, i)]);
    return set.subset(std::span(vectors).first(size));
  };
  Eigen::ArrayXd discrepancies(options.subsets);
  options.executor.parallel_for(options.subsets, [&](std::int64_t subset) {
    discrepancies[subset] = kernel_discrepancy(draw(first, subset, 0), draw(second, subset, 1));
  });
  const double mean = discrepancies.mean();
  return {.mean = mean, .deviation = std::sqrt((discrepancies - mean).square().mean())};
}

}  // namespace patchdiff
