// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "processes/small_training.hpp"
#include "support/catch.hpp"

namespace patchdiff {

/// The largest difference of two lists, relative to the largest element of the second.
inline double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return largest == 0 ? difference : difference / largest;
}

/// Checks losses and, in float64, weights against those of one process.
inline void check_same_run(const RunResult& result, const RunResult& expected, bool weights) {
  REQUIRE(result.size() == expected.size());
  for (const auto& [name, values] : expected) {
    INFO(name);
    REQUIRE(result.count(name) == 1);
    if (name == "losses") {
      for (std::size_t step = 0; step < values.size(); ++step) {
        CHECK(result.at(name).at(step) == Approx(values[step]).epsilon(weights ? 1e-8 : 1e-3));
      }
    } else if (weights) {
      CHECK(relative_difference(result.at(name), values) < 1e-8);
    }
  }
}

}  // namespace patchdiff
