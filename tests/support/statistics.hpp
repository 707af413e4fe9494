// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

/// Statistics of tests with fixed seeds, each with the chance that it refuses a correct program under a new seed.
namespace patchdiff {

/// Largest distance of a normal statistic from its mean, in standard deviations; false-alarm rate 5.7e-7.
constexpr double largest_z = 5;

/// How many standard errors the values' mean lies from `mean`.
inline double z_of_mean(const std::vector<double>& values, double mean, double deviation) {
  double sum = 0;
  for (const double value : values) sum += value;
  const auto count = static_cast<double>(values.size());
  return std::abs(sum / count - mean) / (deviation / std::sqrt(count));
}

/// Pearson's statistic of counts against the counts that are expected.
inline double chi_square(const std::vector<double>& counts, const std::vector<double>& expected) {
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    sum += (counts[i] - expected[i]) * (counts[i] - expected[i]) / expected[i];
  }
  return sum;
}

inline double chi_square(const std::vector<double>& counts, double expected) {
  return chi_square(counts, std::vector<double>(counts.size(), expected));
}

/// Largest chi-square with `classes` classes; false-alarm rate about 1e-6 (Wilson and Hilferty's approximation).
inline double largest_chi_square(std::size_t classes) {
  const auto freedom = static_cast<double>(classes - 1);
  const double spread = 2 / (9 * freedom);
  return freedom * std::pow(1 - spread + 4.7534 * std::sqrt(spread), 3);
}

/// sqrt(n) times the largest distance between the values' distribution and a cumulative distribution function.
template <class Cdf>
double kolmogorov(std::vector<double> values, Cdf&& cdf) {
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  double largest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = cdf(values[i]);
    largest =
        std::max({largest, static_cast<double>(i + 1) / count - expected, expected - static_cast<double>(i) / count});
  }
  return std::sqrt(count) * largest;
}

/// Largest value of `kolmogorov`; false-alarm rate 2 exp(-2 * 2.7^2) = 9e-7.
constexpr double largest_kolmogorov = 2.7;

}  // namespace patchdiff
