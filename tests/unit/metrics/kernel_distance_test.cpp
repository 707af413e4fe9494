// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/metrics/kernel_distance.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"
#include "unit/metrics/sine_features.hpp"

namespace patchdiff {
namespace {

constexpr double discrepancy = 0.2234628027453751;  // reference.py

TEST_CASE("the kernel discrepancy is that of numpy") {
  CHECK(kernel_discrepancy(real_features(), generated_features()) == Approx(discrepancy).epsilon(1e-12));
}

TEST_CASE("the discrepancy is right beyond one block of products") {
  const FeatureSet many = sine_features(1100, 0.3, 0), few = sine_features(3, 0.9, 0.1);
  const auto mean = [](const FeatureSet& x, const FeatureSet& y, bool same) {
    double sum = 0, count = 0;
    for (Eigen::Index i = 0; i < x.count(); ++i) {
      for (Eigen::Index j = 0; j < y.count(); ++j) {
        if (same && i == j) continue;
        sum += std::pow(x.rows().row(i).dot(y.rows().row(j)) / 4 + 1, 3);
        ++count;
      }
    }
    return sum / count;
  };
  CHECK(kernel_discrepancy(many, few) ==
        Approx(mean(many, many, true) + mean(few, few, true) - 2 * mean(many, few, false)).epsilon(1e-10));
}

TEST_CASE("subsets of all vectors give the discrepancy of the sets, whatever their order") {
  const FeatureSet real = sine_features(300, 1, 0), generated = generated_features();
  const KernelDistance distance = kernel_distance(real, generated, {.subsets = 3, .subset_size = 300});
  CHECK(distance.mean == Approx(kernel_discrepancy(real, generated)).epsilon(1e-12));
  CHECK(distance.deviation < 1e-12);
}

TEST_CASE("the mean over subsets is unbiased, and sets of one distribution have none") {
  const FeatureSet real = real_features(), generated = generated_features();
  constexpr std::int64_t subsets = 4000;
  const KernelDistance distance = kernel_distance(real, generated, {.subsets = subsets, .subset_size = 20, .seed = 3});
  // An unbiased estimate on subsets has the estimate on the whole sets as its mean.
  CHECK(std::abs(distance.mean - discrepancy) < largest_z * distance.deviation / std::sqrt(double{subsets}));
  // A biased one would be off by the diagonal, of about (1/3 + 1)^3 / 20 per set: 0.23 in all.
  CHECK(distance.deviation / std::sqrt(double{subsets}) < 0.005);
}

TEST_CASE("each subset is as likely as any other") {
  // Of three vectors, a shuffle that swaps with all places draws one pair twice as often as another.
  FeatureSet first(1), second(1);
  first.add(std::vector<double>{0, 1, 3});
  second.add(std::vector<double>{0.5, -1, 2});
  constexpr std::int64_t subsets = 20000;
  const KernelDistance distance = kernel_distance(first, second, {.subsets = subsets, .subset_size = 2, .seed = 5});
  CHECK(std::abs(distance.mean - kernel_discrepancy(first, second)) <
        largest_z * distance.deviation / std::sqrt(double{subsets}));
}

TEST_CASE("the deviation is that of the subsets' discrepancies") {
  FeatureSet first(1), second(1);
  first.add(std::vector<double>{0, 1, 3});
  second.add(std::vector<double>{0.5, -1});
  const auto of_subsets = [&](std::int64_t subsets) {
    return kernel_distance(first, second, {.subsets = subsets, .subset_size = 2, .seed = 5});
  };
  // A subset leaves out one vector of three. k means of the first k subsets add up to their discrepancies.
  std::vector<double> possible, drawn;
  for (const auto& [a, b] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {0, 2}, {1, 2}}) {
    possible.push_back(kernel_discrepancy(first.subset(std::vector<std::int64_t>{a, b}), second));
  }
  constexpr std::int64_t subsets = 6;
  double sum = 0, squares = 0;
  for (std::int64_t k = 1; k <= subsets; ++k) {
    drawn.push_back(static_cast<double>(k) * of_subsets(k).mean - sum);
    sum += drawn.back();
    CHECK(std::any_of(possible.begin(), possible.end(), [&](double d) { return drawn.back() == Approx(d); }));
  }
  for (const double discrepancy_of_one : drawn) squares += std::pow(discrepancy_of_one - sum / subsets, 2);
  CHECK(squares > 1);
  CHECK(of_subsets(subsets).deviation == Approx(std::sqrt(squares / subsets)).epsilon(1e-10));
}

TEST_CASE("subsets are drawn by the seed, the same on any number of threads") {
  const FeatureSet real = real_features(), generated = generated_features();
  KernelDistanceOptions options{.subsets = 10, .subset_size = 50, .seed = 1};
  const KernelDistance serial = kernel_distance(real, generated, options);
  ThreadExecutor threads(3);
  options.executor = threads;
  const KernelDistance parallel = kernel_distance(real, generated, options);
  CHECK(parallel.mean == serial.mean);
  CHECK(parallel.deviation == serial.deviation);
  options.seed = 2;
  CHECK(kernel_distance(real, generated, options).mean != serial.mean);
  // Sides are drawn apart: of one set against itself, both would be the same vectors, and the result below 0 each time.
  const KernelDistance itself = kernel_distance(real, real, {.subsets = 1000, .subset_size = 20});
  CHECK(std::abs(itself.mean) < largest_z * itself.deviation / std::sqrt(1000.0) + 0.01);
}

TEST_CASE("the kernel distance refuses what does not fit") {
  const FeatureSet set = real_features(), small = sine_features(1, 1, 0), other(3);
  CHECK_ERROR(ConfigError, "kernel_distance: subsets: expected at least 1, got 0",
              kernel_distance(set, set, {.subsets = 0}));
  CHECK_ERROR(ConfigError, "kernel_distance: subset_size: expected at least 2, got 1",
              kernel_distance(set, set, {.subset_size = 1}));
  CHECK_ERROR(DataError, "kernel_distance: first: expected at least 1000 vectors, got 400", kernel_distance(set, set));
  CHECK_ERROR(DataError, "kernel_distance: second: expected at least 2 vectors, got 1",
              kernel_distance(set, small, {.subset_size = 2}));
  CHECK_ERROR(ShapeError, "kernel_distance: second: expected 4 features, got 3", kernel_distance(set, other));
  CHECK_ERROR(ShapeError, "kernel_discrepancy: second: expected 4 features, got 3", kernel_discrepancy(set, other));
  CHECK_ERROR(DataError, "kernel_discrepancy: first: expected at least 2 vectors, got 1",
              kernel_discrepancy(small, set));
  CHECK_ERROR(DataError, "kernel_discrepancy: second: expected at least 2 vectors, got 1",
              kernel_discrepancy(set, small));
}

}  // namespace
}  // namespace patchdiff
