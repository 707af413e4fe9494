// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include <patchdiff/metrics/feature_checks.hpp>
#include <patchdiff/metrics/feature_manifold.hpp>
#include <patchdiff/metrics/feature_set.hpp>

namespace patchdiff {

/// Precision: the share of generated images that look like real ones; recall: of real ones that could be generated.
struct PrecisionRecall {
  double precision = 0;
  double recall = 0;
};

/// Improved precision and recall: the share of each set's vectors that lie on the other set's manifold.
///
/// Both depend on the sizes of the sets: compare with equal ones.
/// Errors: those of FeatureManifold; ShapeError for sets of other dimensions; DataError for a set without a k-th
/// neighbour.
/// Source: Kynkäänniemi et al. (arXiv 1904.06991), equation 2.
inline PrecisionRecall precision_recall(const FeatureSet& real, const FeatureSet& generated,
                                        FeatureManifoldOptions options = {}) {
  constexpr FeatureChecks checks{"precision_recall"};
  checks.same_dimension("generated", real.dimension(), generated.dimension());
  checks.at_least("real", options.neighbour + 1, real.count());
  checks.at_least("generated", options.neighbour + 1, generated.count());
  const FeatureManifold real_manifold(real, options), generated_manifold(generated, options);
  const auto share = [](const std::vector<std::uint8_t>& inside) {
    return std::accumulate(inside.begin(), inside.end(), 0.0) / static_cast<double>(inside.size());
  };
  return {.precision = share(real_manifold.contains(generated)), .recall = share(generated_manifold.contains(real))};
}

}  // namespace patchdiff
