// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/named_formulation.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/weighting.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"

namespace patchdiff {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST_CASE("EDM's preconditioning, by hand at sigma 1 and sigma_data 0.5") {
  const Preconditioning c = EDM{}.preconditioning(1);
  CHECK(c.c_skip == Approx(0.2));
  CHECK(c.c_out == Approx(0.5 / std::sqrt(1.25)));
  CHECK(c.c_in == Approx(1 / std::sqrt(1.25)));
  CHECK(c.c_noise == 0);
  CHECK(EDM{}.preconditioning(std::exp(2)).c_noise == Approx(0.5));
  CHECK(EDM{}.loss_weight(1) == Approx(5));
}

TEST_CASE("EDM keeps network inputs and targets at unit variance, and weights by 1 / c_out^2") {
  for (const double sigma_data : {0.1, 0.5, 2.0}) {
    const EDM edm{.sigma_data = sigma_data};
    for (const double sigma : {0.002, 0.1, 0.5, 1.0, 80.0}) {
      const Preconditioning c = edm.preconditioning(sigma);
      CHECK(c.c_in * c.c_in * (sigma * sigma + sigma_data * sigma_data) == Approx(1).epsilon(1e-14));
      CHECK(edm.loss_weight(sigma) * c.c_out * c.c_out == Approx(1).epsilon(1e-14));
      const double skip_error = (1 - c.c_skip) * sigma_data;
      const double target_variance =
          (skip_error * skip_error + c.c_skip * c.c_skip * sigma * sigma) / (c.c_out * c.c_out);
      CHECK(target_variance == Approx(1).epsilon(1e-14));
    }
  }
}

TEST_CASE("a formulation shows the settings of the model in it, and is made from them again") {
  const Formulation formulation = EDM{.sigma_data = 0.25};
  CHECK(formulation.name() == "edm");
  std::vector<std::string> settings;
  formulation.visit_settings(
      [&](std::string_view key, double value) { settings.push_back(std::string(key) + "=" + std::to_string(value)); });
  CHECK(settings == std::vector<std::string>{"sigma_data=0.250000"});
  const Formulation again =
      named_formulation("edm", [](std::string_view key, double value) { return key == "sigma_data" ? 0.25 : value; });
  CHECK(again.preconditioning(3).c_skip == formulation.preconditioning(3).c_skip);
  CHECK(again.loss_weight(3) == EDM{.sigma_data = 0.25}.loss_weight(3));
  const Formulation defaults = named_formulation("edm", [](std::string_view, double value) { return value; });
  CHECK(defaults.loss_weight(3) == EDM{}.loss_weight(3));
}

TEST_CASE("formulations refuse settings that cannot work") {
  CHECK_ERROR(ConfigError, "EDM: sigma_data: expected a finite value > 0, got 0", Formulation(EDM{.sigma_data = 0}));
  CHECK_ERROR(ConfigError, "EDM: sigma_data: expected a finite value > 0, got inf",
              Formulation(EDM{.sigma_data = infinity}));
  CHECK_ERROR(DataError,
              "Formulation: name: expected one of \"edm\", \"iddpm\", \"sub_vp\", \"ve\", \"vp\", got \"edn\"",
              named_formulation("edn", [](std::string_view, double value) { return value; }));
}

TEST_CASE("weightings") {
  const Formulation edm = EDM{};
  CHECK(Weighting::of_formulation()(edm, 0.3) == EDM{}.loss_weight(0.3));
  CHECK(Weighting::unit()(edm, 0.3) == 1);
  const Weighting own{"inverse", [](const Formulation&, double sigma) { return 1 / sigma; }};
  CHECK(own(edm, 4) == 0.25);
  CHECK(own.name() == "inverse");
}

TEST_CASE("the normal quantile inverts the normal distribution to rounding") {
  for (double z = -8; z <= 8; z += 0.0625) {
    CAPTURE(z);
    // From the smaller tail, where probabilities are exact.
    const double tail = 0.5 * std::erfc(std::abs(z) / std::numbers::sqrt2);
    CHECK(normal_quantile(tail) == Approx(-std::abs(z)).epsilon(1e-13).margin(1e-15));
    if (std::abs(z) < 3) {
      CHECK(normal_quantile(1 - tail) == Approx(std::abs(z)).epsilon(1e-11).margin(1e-15));
    }
  }
  CHECK(normal_quantile(0.975) == Approx(1.959963984540054).epsilon(1e-13));
  CHECK(normal_quantile(0.5) == 0);
}

// False-alarm rate: 5.7e-7 for each moment.
TEST_CASE("the logarithm of a log-normal sigma has its mean and standard deviation") {
  const SigmaDistribution distribution = SigmaDistribution::log_normal(-1.2, 1.2);
  const RandomStream stream({9}, Purpose::sigma, 0, 0);
  std::vector<double> logs, squares;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    logs.push_back(std::log(distribution.quantile(stream.uniform(i))));
    squares.push_back((logs.back() + 1.2) * (logs.back() + 1.2));
  }
  CHECK(z_of_mean(logs, -1.2, 1.2) < largest_z);
  CHECK(z_of_mean(squares, 1.44, 1.44 * std::numbers::sqrt2) < largest_z);
  CHECK(distribution.name() == "log_normal");
  CHECK(distribution.quantile(0.5) == Approx(std::exp(-1.2)));
}

TEST_CASE("sigma distributions refuse settings that cannot work") {
  CHECK_ERROR(ConfigError, "SigmaDistribution::log_normal: p_mean: expected a finite value, got inf",
              SigmaDistribution::log_normal(infinity, 1));
  CHECK_ERROR(ConfigError, "SigmaDistribution::log_normal: p_std: expected a finite value > 0, got 0",
              SigmaDistribution::log_normal(0, 0));
  CHECK_ERROR(ConfigError, "SigmaDistribution::log_normal: p_std: expected a finite value > 0, got inf",
              SigmaDistribution::log_normal(0, infinity));
}

}  // namespace
}  // namespace patchdiff
