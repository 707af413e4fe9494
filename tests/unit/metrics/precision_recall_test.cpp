// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/metrics/precision_recall.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "unit/metrics/sine_features.hpp"

namespace patchdiff {
namespace {

FeatureSet set_of(std::int64_t dimension, const std::vector<double>& values) {
  FeatureSet set(dimension);
  set.add(values);
  return set;
}

TEST_CASE("precision and recall are those of numpy and scipy") {
  const auto check = [](std::int64_t neighbour, double precision, double recall) {
    const PrecisionRecall found = precision_recall(real_features(), generated_features(), {.neighbour = neighbour});
    CHECK(found.precision == Approx(precision).epsilon(1e-14));
    CHECK(found.recall == Approx(recall).epsilon(1e-14));
  };
  check(1, 0.12, 0.2975);
  check(3, 0.5133333333333333, 0.73);
  check(10, 0.94, 0.985);
  CHECK(precision_recall(real_features(), generated_features()).recall == Approx(0.73));

  const Eigen::VectorXd squares = FeatureManifold(real_features()).square_radii();
  CHECK(std::sqrt(squares[0]) == Approx(0.34264939619444734).epsilon(1e-12));
  CHECK(std::sqrt(squares[123]) == Approx(0.41984967982178695).epsilon(1e-12));
  CHECK(std::sqrt(squares[399]) == Approx(0.3268450668926687).epsilon(1e-12));
}

TEST_CASE("balls reach to the k-th neighbour and include it") {
  const FeatureSet line = set_of(1, {0, 1, 3, 7});
  CHECK(FeatureManifold(line, {.neighbour = 1}).square_radii() == Eigen::Vector4d(1, 1, 4, 16));
  CHECK(FeatureManifold(line, {.neighbour = 3}).square_radii() == Eigen::Vector4d(49, 36, 16, 49));
  const FeatureManifold manifold(line, {.neighbour = 1});
  CHECK(manifold.contains(set_of(1, {-1, -1.25, 5, 11, 11.25})) == std::vector<std::uint8_t>{1, 0, 1, 1, 0});
  CHECK(manifold.contains(FeatureSet(1)).empty());
}

TEST_CASE("copies of one vector have balls of radius 0") {
  const FeatureManifold manifold(set_of(2, {0.1, 0.7, 0.1, 0.7, 0.1, 0.7, 5, 5}), {.neighbour = 2});
  CHECK(manifold.square_radii()[0] < 1e-14);
  CHECK(manifold.contains(set_of(2, {0.1, 0.70001})) == std::vector<std::uint8_t>{1});  // of (5, 5)
  CHECK(manifold.contains(set_of(2, {-3, -3})) == std::vector<std::uint8_t>{0});
}

TEST_CASE("manifolds beyond one block are right, far from the origin and on any number of threads") {
  constexpr double far = 1e5;
  const FeatureSet set = sine_features(700, 0.3, far), queries = sine_features(300, 0.8, far + 0.2);
  ThreadExecutor threads(3);
  const FeatureManifold manifold(set), parallel(set, {.executor = threads});
  const auto squares_to = [&](const Eigen::RowVectorXd& vector) {
    std::vector<double> squares;
    for (Eigen::Index i = 0; i < set.count(); ++i) squares.push_back((set.rows().row(i) - vector).squaredNorm());
    return squares;
  };
  Eigen::VectorXd radii(set.count());
  for (Eigen::Index i = 0; i < set.count(); ++i) {
    std::vector<double> squares = squares_to(set.rows().row(i));
    std::nth_element(squares.begin(), squares.begin() + 3, squares.end());
    radii[i] = squares[3];
  }
  CHECK((manifold.square_radii() - radii).cwiseAbs().maxCoeff() < 1e-12);
  CHECK(parallel.square_radii() == manifold.square_radii());
  std::vector<std::uint8_t> expected;
  for (Eigen::Index i = 0; i < queries.count(); ++i) {
    const std::vector<double> squares = squares_to(queries.rows().row(i));
    const Eigen::Map<const Eigen::VectorXd> distances(squares.data(), radii.size());
    expected.push_back((distances.array() <= radii.array()).any());
  }
  CHECK(manifold.contains(queries) == expected);
  CHECK(parallel.contains(queries) == expected);
  CHECK(std::count(expected.begin(), expected.end(), 1) > 30);
  CHECK(std::count(expected.begin(), expected.end(), 0) > 30);
}

TEST_CASE("distances that overflow are refused instead of taken for 0") {
  const FeatureSet near = set_of(1, {0, 1, 3, 7}), far = set_of(1, {0, 1e160, 3e160, 7e160});
  const std::string text =
      "FeatureManifold: set: expected finite squared distances, got features whose squares overflow";
  CHECK_ERROR(NumericError, text, precision_recall(far, far));
  CHECK_ERROR(NumericError, text, FeatureManifold(near).contains(far));
  CHECK_ERROR(NumericError, text, FeatureManifold(set_of(1, {0, 1.2e154, 0, 0}), {.neighbour = 1}).contains(near));
  CHECK(FeatureManifold(set_of(1, {0, 3e153, 6e153}), {.neighbour = 1}).contains(near).size() == 4);
}

TEST_CASE("precision and recall refuse what does not fit") {
  const FeatureSet set = real_features(), other(3);
  CHECK_ERROR(ConfigError, "FeatureManifold: neighbour: expected at least 1, got 0",
              FeatureManifold(set, {.neighbour = 0}));
  CHECK_ERROR(ConfigError, "FeatureManifold: neighbour: expected at least 1, got 0",
              precision_recall(set, set, {.neighbour = 0}));
  const FeatureSet few = sine_features(3, 1, 0);
  CHECK_ERROR(DataError, "FeatureManifold: set: expected at least 4 vectors, got 3", FeatureManifold(few));
  CHECK_ERROR(DataError, "precision_recall: real: expected at least 4 vectors, got 3", precision_recall(few, set));
  CHECK_ERROR(DataError, "precision_recall: generated: expected at least 4 vectors, got 3", precision_recall(set, few));
  CHECK_ERROR(ShapeError, "FeatureManifold: set: expected 4 features, got 3", FeatureManifold(set).contains(other));
  CHECK_ERROR(ShapeError, "precision_recall: generated: expected 4 features, got 3", precision_recall(set, other));
}

}  // namespace
}  // namespace patchdiff
