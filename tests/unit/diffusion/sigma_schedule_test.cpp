// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>
#include <patchdiff/diffusion/vp.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST_CASE("EDM's noise levels") {
  const std::vector<double> sigmas = SigmaSchedule::edm()(18);
  REQUIRE(sigmas.size() == 18);
  for (const auto& [step, sigma] :
       {std::pair{0, 80.0}, std::pair{1, 57.58598}, std::pair{2, 40.78557}, std::pair{8, 3.256822},
        std::pair{15, 0.02293452}, std::pair{16, 0.00752802}, std::pair{17, 0.002}}) {
    CHECK(sigmas[static_cast<std::size_t>(step)] == Approx(sigma).epsilon(1e-6));
  }
  CHECK(SigmaSchedule::edm({.sigma_min = 0.5, .sigma_max = 2, .rho = 1})(2) == std::vector<double>{2, 0.5});
}

TEST_CASE("a single step starts at the highest level") {
  CHECK(SigmaSchedule::edm()(1)[0] == Approx(80).epsilon(1e-12));
  CHECK(SigmaSchedule::linear(1, 5)(1) == std::vector<double>{5});
  CHECK(SigmaSchedule::geometric(1, 5)(1) == std::vector<double>{5});
  CHECK(VP{}.sigma_schedule()(1)[0] == Approx(152.16697).epsilon(1e-7));
  CHECK(SigmaSchedule::list({3})(1) == std::vector<double>{3});
}

TEST_CASE("schedules are even in what they are named for") {
  CHECK(SigmaSchedule::linear(1, 5)(3) == std::vector<double>{5, 3, 1});
  const std::vector<double> geometric = SigmaSchedule::geometric(1, 16)(5);
  for (std::size_t step = 0; step < 5; ++step)
    CHECK(geometric[step] == Approx(std::pow(2, 4.0 - static_cast<double>(step))));
  const std::vector<double> vp = VP{}.sigma_schedule()(7);
  for (std::size_t step = 1; step < 7; ++step) {
    const double length = VP{}.process().time(vp[step - 1]) - VP{}.process().time(vp[step]);
    CHECK(length == Approx(0.999 / 6).epsilon(1e-9));
  }
  CHECK(SigmaSchedule::list({3, 2, 0.5})(3) == std::vector<double>{3, 2, 0.5});
  const SigmaSchedule own{"halves", [](std::int64_t num_steps) {
                            std::vector<double> sigmas{8};
                            while (sigmas.size() < static_cast<std::size_t>(num_steps))
                              sigmas.push_back(sigmas.back() / 2);
                            return sigmas;
                          }};
  CHECK(own(4) == std::vector<double>{8, 4, 2, 1});
  CHECK(own.name() == "halves");
}

TEST_CASE("schedules refuse what is no list of falling noise levels") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  const auto list = [](std::vector<double> sigmas) { return SigmaSchedule::list(std::move(sigmas))(3); };
  CHECK_ERROR(ConfigError, "SigmaSchedule: num_steps: expected at least 1, got 0", SigmaSchedule::edm()(0));
  CHECK_ERROR(ConfigError, "SigmaSchedule: num_steps: expected 2, one per value of the list, got 3", list({2, 1}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected falling values, got 3 at step 2 after 2", list({4, 2, 3}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected falling values, got 4 at step 1 after 4", list({4, 4, 3}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected finite values > 0, got 0 at step 2", list({4, 2, 0}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected finite values > 0, got nan at step 1", list({4, nan, 1}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: list: expected finite values > 0, got inf at step 0",
              list({infinity, 2, 1}));
  CHECK_ERROR(ConfigError, "SigmaSchedule: short: expected 2 values, got 1",
              SigmaSchedule("short", [](std::int64_t) { return std::vector<double>{1}; })(2));
  // More steps than the table has levels.
  CHECK_THROWS_AS(IDDPM{}.sigma_schedule()(2000), ConfigError);
  CHECK_ERROR(ConfigError, "SigmaSchedule::edm: sigma_min: expected a value > 0, got 0",
              SigmaSchedule::edm({.sigma_min = 0}));
  CHECK_ERROR(ConfigError, "SigmaSchedule::edm: sigma_min: expected a value > 0, got nan",
              SigmaSchedule::edm({.sigma_min = nan}));
  CHECK_ERROR(ConfigError, "SigmaSchedule::edm: sigma_max: expected a finite value > sigma_min = 0.002, got 0.002",
              SigmaSchedule::edm({.sigma_max = 0.002}));
  CHECK_ERROR(ConfigError, "SigmaSchedule::edm: sigma_max: expected a finite value > sigma_min = 0.002, got inf",
              SigmaSchedule::edm({.sigma_max = infinity}));
  CHECK_ERROR(ConfigError, "SigmaSchedule::edm: rho: expected a finite value > 0, got 0",
              SigmaSchedule::edm({.rho = 0}));
  CHECK_ERROR(ConfigError, "SigmaSchedule::edm: rho: expected a finite value > 0, got inf",
              SigmaSchedule::edm({.rho = infinity}));
  CHECK_ERROR(ConfigError, "SigmaSchedule::linear: sigma_max: expected a finite value > sigma_min = 5, got 1",
              SigmaSchedule::linear(5, 1));
  CHECK_ERROR(ConfigError, "SigmaSchedule::geometric: sigma_min: expected a value > 0, got -1",
              SigmaSchedule::geometric(-1, 1));
}

}  // namespace
}  // namespace patchdiff
