// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <patchdiff/metrics/feature_set.hpp>
#include <patchdiff/metrics/feature_statistics.hpp>
#include <patchdiff/parallel/gather.hpp>
#include <patchdiff/parallel/process_group.hpp>

namespace patchdiff {

/// The features that all processes have seen, on each of them. Errors: ProcessError.
template <ProcessGroup G>
FeatureStatistics merge_features(G& group, const FeatureStatistics& own) {
  FeatureStatistics all(own.dimension());
  for (const std::vector<double>& numbers : gather(group, own.packed(), "merging of feature statistics")) {
    all.merge(FeatureStatistics::unpacked(own.dimension(), numbers));
  }
  return all;
}

/// The same of sets: in the order of ranks, so in that of the images where each process took its share of them.
template <ProcessGroup G>
FeatureSet merge_features(G& group, const FeatureSet& own) {
  FeatureSet all(own.dimension());
  for (const std::vector<double>& values : gather(group, own.values(), "merging of features")) all.add(values);
  return all;
}

}  // namespace patchdiff
