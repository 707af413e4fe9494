// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/metrics/bootstrap.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/metrics/frechet_distance.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"
#include "unit/metrics/sine_features.hpp"

namespace patchdiff {
namespace {

double mean_of(const FeatureSet& set) { return set.rows().mean(); }

FeatureSet normal_set(std::int64_t count, std::uint64_t seed) {
  std::vector<double> values(static_cast<std::size_t>(count));
  RandomStream({seed}, Purpose::training_noise, 0, 0).normals(std::span(values));
  FeatureSet set(1);
  set.add(values);
  return set;
}

TEST_CASE("the interval holds the middle of the resamples' values") {
  std::vector<double> values;
  const FeatureSet set = real_features();
  const auto metric = [&](const FeatureSet& resample) {
    REQUIRE(resample.count() == set.count());
    values.push_back(mean_of(resample));
    return values.back();
  };
  const BootstrapInterval interval = bootstrap(set, metric, {.resamples = 101, .confidence = 0.9});
  REQUIRE(values.size() == 101);
  double sum = 0;
  for (const double value : values) sum += value;
  CHECK(interval.mean == Approx(sum / 101));
  std::sort(values.begin(), values.end());
  CHECK(interval.lower == Approx(values[5]).epsilon(1e-12));
  CHECK(interval.upper == Approx(values[95]).epsilon(1e-12));
}

TEST_CASE("resamples take each vector 0, 1, 2, ... times, as independent draws do") {
  constexpr std::int64_t count = 50, resamples = 2000;
  FeatureSet set(1);
  for (std::int64_t i = 0; i < count; ++i) set.add(std::vector<double>{static_cast<double>(i)});
  std::vector<double> drawn(count, 0);
  double different = 0;
  const auto metric = [&](const FeatureSet& resample) {
    std::vector<bool> seen(count, false);
    for (const double value : resample.values()) {
      ++drawn[static_cast<std::size_t>(value)];
      seen[static_cast<std::size_t>(value)] = true;
    }
    different += static_cast<double>(std::count(seen.begin(), seen.end(), true));
    return 0.0;
  };
  bootstrap(set, metric, {.resamples = resamples, .seed = 7});
  CHECK(chi_square(drawn, double{resamples}) < largest_chi_square(count));
  // Occupied cells of n balls in n cells: mean n (1 - q), variance n q + n (n - 1) r - n^2 q^2.
  const double n = count, q = std::pow(1 - 1 / n, n), r = std::pow(1 - 2 / n, n);
  const double variance = n * q + n * (n - 1) * r - n * n * q * q;
  CHECK(std::abs(different / resamples - n * (1 - q)) < largest_z * std::sqrt(variance / resamples));
}

TEST_CASE("intervals of a mean hold the true one as often as they say") {
  // With 200 resamples of 100 normals, an interval for 0.9 covers 0.886: Student's t, and 199 of 201 ranks.
  constexpr int sets = 400;
  int held = 0;
  for (std::uint64_t seed = 0; seed < sets; ++seed) {
    const auto interval =
        bootstrap(normal_set(100, seed), mean_of, {.resamples = 200, .confidence = 0.9, .seed = seed});
    held += interval.lower <= 0 && 0 <= interval.upper ? 1 : 0;
  }
  CHECK(std::abs(held - 0.886 * sets) < largest_z * std::sqrt(sets * 0.886 * 0.114));
}

TEST_CASE("a bootstrap takes any metric, and its draws by the seed") {
  const FeatureStatistics real = real_features().statistics();
  const auto metric = [&](const FeatureSet& set) { return frechet_distance(real, set.statistics()); };
  const auto interval = [&](std::uint64_t seed) {
    return bootstrap(generated_features(), metric, {.resamples = 50, .seed = seed});
  };
  const BootstrapInterval first = interval(1);
  CHECK(first.lower < first.mean);
  CHECK(first.mean < first.upper);
  CHECK(first.lower < 0.2722690154835785);
  CHECK(first.upper > 0.2722690154835785);
  CHECK(interval(1).mean == first.mean);
  CHECK(interval(2).mean != first.mean);
}

TEST_CASE("a bootstrap refuses what does not fit") {
  const FeatureSet set = real_features();
  CHECK_ERROR(ConfigError, "bootstrap: resamples: expected at least 2, got 1",
              bootstrap(set, mean_of, {.resamples = 1}));
  CHECK_ERROR(ConfigError, "bootstrap: confidence: expected between 0 and 1, got 1",
              bootstrap(set, mean_of, {.confidence = 1}));
  CHECK_ERROR(ConfigError, "bootstrap: confidence: expected between 0 and 1, got nan",
              bootstrap(set, mean_of, {.confidence = std::nan("")}));
  CHECK_ERROR(DataError, "bootstrap: set: expected at least 1 vector, got 0", bootstrap(FeatureSet(2), mean_of));
  int calls = 0;
  const auto broken = [&](const FeatureSet&) { return ++calls < 3 ? 1 : std::nan(""); };
  CHECK_ERROR(NumericError, "bootstrap: metric: expected finite values, got nan of resample 2", bootstrap(set, broken));
}

}  // namespace
}  // namespace patchdiff
