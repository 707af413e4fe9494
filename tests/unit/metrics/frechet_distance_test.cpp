// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/metrics/feature_statistics.hpp>
#include <patchdiff/metrics/frechet_distance.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "unit/metrics/sine_features.hpp"

namespace patchdiff {
namespace {

std::vector<double> normals(std::size_t count, std::uint64_t seed) {
  std::vector<double> values(count);
  RandomStream({seed}, Purpose::training_noise, 0, 0).normals(std::span(values));
  return values;
}

FeatureStatistics statistics_of(std::int64_t dimension, const std::vector<double>& features) {
  FeatureStatistics statistics(dimension);
  statistics.add(features);
  return statistics;
}

TEST_CASE("statistics are those of plain formulas, however the vectors come in") {
  const std::vector<double> features{1, 2, 3, 5, 4, -1, 0, 7};
  const FeatureStatistics whole = statistics_of(2, features);
  CHECK(whole.count() == 4);
  CHECK(whole.mean()[0] == Approx(2));
  CHECK(whole.mean()[1] == Approx(3.25));
  CHECK(whole.covariance()(0, 0) == Approx(10.0 / 3));
  CHECK(whole.covariance()(0, 1) == Approx(-13.0 / 3));
  CHECK(whole.covariance()(1, 1) == Approx(36.75 / 3));

  FeatureStatistics parts(2), other(2), empty(2);
  parts.add(std::span(features).first(2));
  other.add(std::span(features).subspan(2, 4));
  parts.merge(empty);
  parts.merge(other);
  parts.add(std::span(features).last(2));
  CHECK(parts.count() == 4);
  CHECK((parts.mean() - whole.mean()).norm() < 1e-14);
  CHECK((parts.covariance() - whole.covariance()).norm() < 1e-13);
}

TEST_CASE("the distance of a set to itself is 0") {
  const FeatureStatistics set = statistics_of(5, normals(500, 1));
  CHECK(frechet_distance(set, set) < 1e-12);
}

TEST_CASE("of shifted and scaled sets the distance has a closed form") {
  const std::vector<double> base = normals(3 * 400, 2);
  std::vector<double> moved = base;
  const std::vector<double> shift{1, -2, 0.5};
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += shift[i % 3];
  const FeatureStatistics first = statistics_of(3, base);
  CHECK(frechet_distance(first, statistics_of(3, moved)) == Approx(5.25));
  std::vector<double> doubled = base;
  for (double& value : doubled) value *= 2;
  // |m|^2 + tr S (1 - 2)^2
  CHECK(frechet_distance(first, statistics_of(3, doubled)) ==
        Approx(first.mean().squaredNorm() + first.covariance().trace()));
}

TEST_CASE("covariances that do not commute give what numpy and scipy give") {
  // S1 = [[4, 1], [1, 2]], S2 = [[1, -0.5], [-0.5, 3]], equal means: tr(S1 + S2 - 2 sqrtm(S1 S2)).
  const auto set = [](double a, double b, double c) {
    // Four points with mean 0 and unbiased covariance [[a, b], [b, c]], by its Cholesky factor.
    const double l = std::sqrt(a), m = b / l, n = std::sqrt(c - m * m), f = std::sqrt(1.5);
    return statistics_of(2, {f * l, f * m, -f * l, -f * m, 0, f * n, 0, -f * n});
  };
  CHECK(set(4, 1, 2).covariance()(0, 1) == Approx(1));
  const double a = 4 * 1 + 1 * -0.5, d = 1 * -0.5 + 2 * 3;  // the diagonal of S1 S2
  const double determinant = (4 * 2 - 1) * (1 * 3 - 0.25);
  // tr sqrt(M) of a 2 x 2 matrix is sqrt(tr M + 2 sqrt(det M)).
  const double root_trace = std::sqrt(a + d + 2 * std::sqrt(determinant));
  CHECK(frechet_distance(set(4, 1, 2), set(1, -0.5, 3)) == Approx(4 + 2 + 1 + 3 - 2 * root_trace));
}

TEST_CASE("the distance is that of numpy and scipy") {
  CHECK(frechet_distance(real_features().statistics(), generated_features().statistics()) ==
        Approx(0.2722690154835785).epsilon(1e-10));
}

TEST_CASE("statistics go to another process as numbers") {
  const FeatureStatistics sent = real_features().statistics();
  FeatureStatistics merged = generated_features().statistics(), whole = merged;
  whole.merge(sent);
  merged.merge(FeatureStatistics::unpacked(4, sent.packed()));
  CHECK(merged.count() == 700);
  CHECK(merged.packed() == whole.packed());
  CHECK_ERROR(ShapeError, "FeatureStatistics: numbers: expected 13, got 21",
              FeatureStatistics::unpacked(3, sent.packed()));
  const auto unpacked = [](std::vector<double> numbers) { return FeatureStatistics::unpacked(1, numbers); };
  CHECK(unpacked({5, 1, 2}).count() == 5);
  CHECK_ERROR(DataError, "FeatureStatistics: numbers: expected a count of vectors first, got 2.5",
              unpacked({2.5, 1, 2}));
  CHECK_ERROR(DataError, "FeatureStatistics: numbers: expected a count of vectors first, got -1", unpacked({-1, 1, 2}));
  CHECK_ERROR(DataError, "FeatureStatistics: numbers: expected a count of vectors first, got 1e+300",
              unpacked({1e300, 1, 2}));
  CHECK_ERROR(DataError, "FeatureStatistics: numbers: expected a count of vectors first, got nan",
              unpacked({std::nan(""), 1, 2}));
  CHECK_ERROR(DataError, "FeatureStatistics: numbers: expected finite values, got others",
              unpacked({5, std::nan(""), 2}));
  CHECK_ERROR(DataError, "FeatureStatistics: numbers: expected finite values, got others",
              unpacked({5, 1, std::numeric_limits<double>::infinity()}));
}

TEST_CASE("the log hears of a set with no more vectors than features") {
  std::vector<std::string> heard;
  const Log log = [&](std::string_view message) { heard.emplace_back(message); };
  const FeatureStatistics few = statistics_of(3, normals(3 * 3, 4)), enough = statistics_of(3, normals(3 * 4, 5));
  frechet_distance(enough, enough, log);
  CHECK(heard.empty());
  frechet_distance(few, enough, log);
  frechet_distance(enough, few, log);
  CHECK(heard == std::vector<std::string>{
                     "frechet_distance: first: expected more vectors than features, got 3 vectors of 3 features",
                     "frechet_distance: second: expected more vectors than features, got 3 vectors of 3 features"});
}

TEST_CASE("metrics refuse what does not fit") {
  FeatureStatistics two(2), three(3);
  CHECK_ERROR(ConfigError, "FeatureStatistics: dimension: expected at least 1, got 0", FeatureStatistics(0));
  CHECK_ERROR(ShapeError, "FeatureStatistics: features: expected vectors of 2 values, got 3 values",
              two.add(std::vector<double>{1, 2, 3}));
  CHECK_ERROR(DataError, "FeatureStatistics: features: expected finite values, got nan in vector 1",
              two.add(std::vector<double>{1, 2, std::nan(""), 3}));
  CHECK(two.count() == 0);
  CHECK_ERROR(ShapeError, "FeatureStatistics: other: expected 2 features, got 3", two.merge(three));
  CHECK_ERROR(DataError, "FeatureStatistics: features: expected at least 2 vectors, got 0", two.covariance());
  CHECK_ERROR(ShapeError, "frechet_distance: second: expected 2 features, got 3", frechet_distance(two, three));
  const FeatureStatistics one = statistics_of(2, {1, 2}), enough = statistics_of(2, {1, 2, 3, 5});
  CHECK_ERROR(DataError, "frechet_distance: first: expected at least 2 vectors, got 1", frechet_distance(one, enough));
  CHECK_ERROR(DataError, "frechet_distance: second: expected at least 2 vectors, got 1", frechet_distance(enough, one));
}

TEST_CASE("a distance that overflows is no perfect score") {
  const FeatureStatistics set = statistics_of(2, {1, 2, 3, 5, 4, 4});
  // Squares overflow; covariances are finite, but not their product; only the distance of the means overflows.
  const FeatureStatistics squares = statistics_of(2, {0, 1e160, 2e160, 0, 3e160, 1e160});
  const FeatureStatistics products = statistics_of(2, {0, 1e100, 2e100, 0, 3e100, 1e100});
  const FeatureStatistics far = statistics_of(2, {1e160, 2e160, 1e160, 2e160, 1e160, 2e160});
  const std::string text = "frechet_distance: distance: expected a finite value, got one that overflows";
  CHECK_ERROR(NumericError, text, frechet_distance(squares, squares));
  CHECK_ERROR(NumericError, text, frechet_distance(set, squares));
  CHECK_ERROR(NumericError, text, frechet_distance(products, products));
  CHECK_ERROR(NumericError, text, frechet_distance(far, set));
}

}  // namespace
}  // namespace patchdiff
