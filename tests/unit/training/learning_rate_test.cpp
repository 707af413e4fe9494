// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include <fmt/core.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/training/learning_rate.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

TEST_CASE("the learning rate rises in a line and falls along a quarter of a cosine") {
  CHECK(cosine_learning_rate(0.1, 0, 0.05) == 0);
  CHECK(cosine_learning_rate(0.1, 0.025, 0.05) == Approx(0.05 * std::cos(0.025 * std::acos(0.0))));
  CHECK(cosine_learning_rate(0.1, 0.5, 0.05) == Approx(0.1 * std::sqrt(0.5)));
  CHECK(cosine_learning_rate(0.1, 1, 0.05) == Approx(0).margin(1e-12));
  CHECK(cosine_learning_rate(0.1, 1.2, 0.05) == Approx(0).margin(1e-12));
  CHECK(cosine_learning_rate(0.1, 0, 0) == 0.1);
}

TEST_CASE("the learning rate rises in a line, stays, and falls with the root of the images") {
  const InverseSqrtRate rate{.peak = 0.1, .constant_images = 1000, .rampup_images = 400};
  CHECK(inverse_sqrt_learning_rate(rate, 0) == 0);
  CHECK(inverse_sqrt_learning_rate(rate, 100) == Approx(0.025));
  CHECK(inverse_sqrt_learning_rate(rate, 400) == 0.1);
  CHECK(inverse_sqrt_learning_rate(rate, 1000) == 0.1);
  CHECK(inverse_sqrt_learning_rate(rate, 4000) == Approx(0.05));
  CHECK(inverse_sqrt_learning_rate({.peak = 0.1, .constant_images = 100, .rampup_images = 400}, 400) == Approx(0.05));
  CHECK(inverse_sqrt_learning_rate({.peak = 0.1, .constant_images = 1000, .rampup_images = 0}, 0) == 0.1);
  for (const double images : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_ERROR(ConfigError, fmt::format("InverseSqrtRate: constant_images: expected a value > 0, got {}", images),
                inverse_sqrt_learning_rate({.constant_images = images}, 1));
  }
}

}  // namespace
}  // namespace patchdiff
