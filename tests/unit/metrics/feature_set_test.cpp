// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/metrics/feature_set.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/metrics/frechet_distance.hpp>
#include <patchdiff/metrics/per_class.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "unit/metrics/sine_features.hpp"

namespace patchdiff {
namespace {

TEST_CASE("a feature set is the same however its vectors come in") {
  const FeatureSet whole = real_features();
  const std::span<const double> values = whole.values();
  FeatureSet parts(4), other(4);
  parts.add(values.first(40));
  other.add(values.subspan(40, 800));
  other.add(values.subspan(840));
  parts.add({});
  parts.merge(other);
  CHECK(parts.count() == 400);
  CHECK(parts.values() == whole.values());
  CHECK(parts.rows()(399, 3) == values.back());
  CHECK(parts.statistics().packed() == whole.statistics().packed());
  parts.merge(parts);
  CHECK(parts.count() == 800);
}

TEST_CASE("a subset holds the vectors that are named") {
  FeatureSet set(2);
  set.add(std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(set.subset(std::vector<std::int64_t>{2, 0, 2}).values() == std::vector<double>{5, 6, 1, 2, 5, 6});
}

TEST_CASE("classes are collected and merged apart") {
  const std::vector<double> features{1, 10, 2, 20, 3, 30, 4, 40};
  PerClass<FeatureSet> sets(3, 2), other(3, 2);
  sets.add(features, std::vector<std::int64_t>{2, 0, 2, 0});
  CHECK(sets[0].values() == std::vector<double>{2, 20, 4, 40});
  CHECK(sets[1].count() == 0);
  other.add(std::vector<double>{5, 50}, std::vector<std::int64_t>{1});
  other.add(std::vector<double>{6, 60}, std::vector<std::int64_t>{2});
  sets.merge(other);
  CHECK(sets[1].values() == std::vector<double>{5, 50});
  CHECK(sets[2].values() == std::vector<double>{1, 10, 3, 30, 6, 60});
}

TEST_CASE("a distance of each class is that of its vectors alone") {
  const FeatureSet real = real_features(), generated = generated_features();
  std::vector<std::int64_t> labels;
  std::vector<std::int64_t> of_class;  // the vectors of class 1, in both sets
  for (std::int64_t i = 0; i < 400; ++i) labels.push_back(i % 3 == 0 ? 1 : 0);
  for (std::int64_t i = 0; i < 300; i += 3) of_class.push_back(i);
  PerClass<FeatureStatistics> first(2, 4), second(2, 4);
  first.add(std::span(real.values()).first(4 * 300), std::span(labels).first(300));
  second.add(generated.values(), std::span(labels).first(300));
  CHECK(frechet_distance(first[1], second[1]) ==
        Approx(frechet_distance(real.subset(of_class).statistics(), generated.subset(of_class).statistics()))
            .epsilon(1e-10));
}

TEST_CASE("feature sets and classes refuse what does not fit") {
  FeatureSet set(2);
  CHECK_ERROR(ConfigError, "FeatureSet: dimension: expected at least 1, got 0", FeatureSet(0));
  CHECK_ERROR(ShapeError, "FeatureSet: features: expected vectors of 2 values, got 3 values",
              set.add(std::vector<double>{1, 2, 3}));
  CHECK_ERROR(DataError, "FeatureSet: features: expected finite values, got inf in vector 0",
              set.add(std::vector<double>{1, std::numeric_limits<double>::infinity()}));
  CHECK(set.count() == 0);
  CHECK_ERROR(ShapeError, "FeatureSet: other: expected 2 features, got 4", set.merge(real_features()));
  CHECK_ERROR(DataError, "FeatureSet: vectors: expected 0 to 399, got 400",
              real_features().subset(std::vector<std::int64_t>{400}));
  PerClass<FeatureSet> classes(2, 2), three(3, 2);
  const std::vector<double> vector{1, 2};
  CHECK_ERROR(ConfigError, "PerClass: classes: expected at least 1, got 0", PerClass<FeatureSet>(0, 2));
  CHECK_ERROR(ShapeError, "PerClass: features: expected 2 vectors of 2 values, got 2 values",
              classes.add(vector, std::vector<std::int64_t>{0, 1}));
  CHECK_ERROR(DataError, "PerClass: labels: expected 0 to 1, got 2", classes.add(vector, std::vector<std::int64_t>{2}));
  CHECK_ERROR(DataError, "PerClass: features: expected finite values, got nan in vector 1",
              classes.add(std::vector<double>{1, 2, 3, std::nan("")}, std::vector<std::int64_t>{0, 1}));
  CHECK(classes[0].count() == 0);
  CHECK_ERROR(DataError, "PerClass: label: expected 0 to 1, got -1", classes[-1]);
  CHECK_ERROR(ShapeError, "PerClass: other: expected 2 classes, got 3", classes.merge(three));
}

}  // namespace
}  // namespace patchdiff
