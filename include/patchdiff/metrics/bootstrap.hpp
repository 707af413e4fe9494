// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/metrics/feature_checks.hpp>
#include <patchdiff/metrics/feature_set.hpp>

namespace patchdiff {

/// How many resamples, and which interval.
struct BootstrapOptions {
  std::int64_t resamples = 1000;  ///< at least 2
  double confidence = 0.95;       ///< of the interval, between 0 and 1
  std::uint64_t seed = 0;
};

/// What a metric would have been of other samples; as many resamples lie below the interval as above it.
struct BootstrapInterval {
  double mean = 0;
  double lower = 0;
  double upper = 0;
};

/// How sure a metric of a set is: its mean and central interval over sets of as many vectors, drawn with repetition.
///
/// `metric` takes a FeatureSet. One that looks at pairs within the set takes copies for neighbours: KID and radii of
/// balls are biased, and the deviation of KID's subsets tells its spread without.
/// Errors: ConfigError for settings; DataError for an empty set; NumericError for a metric that is not finite.
/// Draws: `Purpose::resample`, step = resample, index = vector. Cost: one call of the metric per resample.
/// Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), section 13.3.
template <std::invocable<const FeatureSet&> Metric>
BootstrapInterval bootstrap(const FeatureSet& set, const Metric& metric, const BootstrapOptions& options = {}) {
  require<ConfigError>(options.resamples >= 2, "bootstrap", "resamples", "at least 2", options.resamples);
  require<ConfigError>(options.confidence > 0 && options.confidence < 1, "bootstrap", "confidence", "between 0 and 1",
                       options.confidence);
  FeatureChecks{"bootstrap"}.at_least("set", 1, set.count());
  const auto count = static_cast<std::uint64_t>(set.count());
  std::vector<std::int64_t> vectors(count);
  std::vector<double> values;
  for (std::int64_t resample = 0; resample < options.resamples; ++resample) {
    const RandomStream stream({options.seed}, Purpose::resample, static_cast<std::uint64_t>(resample), 0);
    for (std::uint64_t i = 0; i < count; ++i) vectors[i] = static_cast<std::int64_t>(stream.below(count, i));
    values.push_back(metric(set.subset(vectors)));
    if (!std::isfinite(values.back())) {
      refuse<NumericError>("bootstrap", "metric", "finite values", str(values.back(), " of resample ", resample));
    }
  }
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double share) {
    const double position = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    return std::lerp(values[below], values[std::min(below + 1, values.size() - 1)],
                     position - static_cast<double>(below));
  };
  const double outside = (1 - options.confidence) / 2;
  return {.mean = mean, .lower = quantile(outside), .upper = quantile(1 - outside)};
}

}  // namespace patchdiff
