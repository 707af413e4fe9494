// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/named_formulation.hpp>
#include <patchdiff/diffusion/perturb.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

const std::vector<Formulation> all{EDM{}, IDDPM{}, SubVP{}, VE{}, VP{}};

/// Times across the range that a formulation samples.
std::vector<double> some_times(const Formulation& formulation) {
  std::vector<double> times;
  for (const double sigma : formulation.sigma_schedule()(9)) times.push_back(formulation.process().time(sigma));
  return times;
}

TEST_CASE("the derivatives of a process are those of its scale and sigma, and time inverts sigma") {
  std::vector<NoiseProcess> processes;
  for (const Formulation& formulation : all) {
    for (const NoiseProcess& process :
         {formulation.process(), formulation.process().unscaled(), formulation.process().variance_preserving()}) {
      CAPTURE(process.name());
      for (const double time : some_times(formulation)) {
        CAPTURE(time);
        const NoiseMoment at = process.at(time);
        const auto slope = [&](auto&& of) {
          return central_difference([&](double step) { return of(process.at(time * (1 + step)).level); }, 1e-5) / time;
        };
        const double scale_slope = slope([](NoiseLevel level) { return level.scale; });
        CHECK(at.scale_rate == Approx(scale_slope).epsilon(1e-6).margin(1e-9 / time));
        CHECK(at.sigma_rate == Approx(slope([](NoiseLevel level) { return level.sigma; })).epsilon(1e-6));
        CHECK(process.time(at.level.sigma) == Approx(time).epsilon(1e-9));
      }
      CHECK(process.at(0).level == NoiseLevel{1, 0});
      CHECK(process.time(0) == 0);
    }
  }
  const NoiseLevel preserved = VE{}.process().variance_preserving().at(9).level;
  CHECK(preserved.scale * preserved.scale * (1 + 9) == Approx(1).epsilon(1e-14));
  CHECK(VP{}.process().unscaled().at(0.5).level == NoiseLevel{1, VP{}.process().at(0.5).level.sigma});
}

TEST_CASE("f and g of the forward SDE are those of the paper") {
  for (const double time : {0.01, 0.3, 1.0}) {
    const double beta = 0.1 + 19.9 * time, integral = 0.1 * time + 19.9 * time * time / 2;
    const NoiseMoment vp = VP{}.process().at(time), sub = SubVP{}.process().at(time);
    CHECK(vp.drift() == Approx(-beta / 2).epsilon(1e-12));
    CHECK(vp.diffusion() == Approx(std::sqrt(beta)).epsilon(1e-12));
    CHECK(sub.drift() == Approx(-beta / 2).epsilon(1e-12));
    CHECK(sub.diffusion() == Approx(std::sqrt(beta * -std::expm1(-2 * integral))).epsilon(1e-12));
    CHECK(vp.level.deviation() == Approx(std::sqrt(-std::expm1(-integral))).epsilon(1e-12));
    CHECK(sub.level.deviation() == Approx(-std::expm1(-integral)).epsilon(1e-12));
    CHECK(vp.level.scale == sub.level.scale);
  }
  CHECK(VE{}.process().at(16).diffusion() == Approx(1));
  CHECK(VE{}.process().at(16).drift() == 0);
  CHECK(EDM{}.process().at(3).diffusion() == Approx(std::sqrt(6)));
}

// False-alarm rate: 5.7e-7 for each mean and each variance.
TEST_CASE("perturb has the law of simulated forward paths") {
  constexpr std::size_t paths = 4096;
  constexpr int steps = 1000;
  for (const Formulation& formulation : all) {
    CAPTURE(formulation.name());
    const NoiseProcess process = formulation.process();
    // A time by which sigma is 2: images and noise both count.
    const double end = process.time(2);
    const RandomStream stream({5}, Purpose::data_order, 0, 0);
    std::vector<double> x(paths, 0.7), z(paths);
    double mean = 0.7, variance = 0;
    for (int step = 0; step < steps; ++step) {
      // Midpoints, since sigma' of VE and VP has no value at time 0.
      const double length = end / steps, time = (step + 0.5) * length;
      const NoiseMoment at = process.at(time);
      stream.normals(std::span(z), static_cast<std::uint64_t>(step) * paths);
      const double kept = 1 + at.drift() * length, added = at.diffusion() * std::sqrt(length);
      for (std::size_t path = 0; path < paths; ++path) x[path] = kept * x[path] + added * z[path];
      mean *= kept;
      variance = kept * kept * variance + added * added;
    }
    const NoiseLevel level = process.at(end).level;
    // The simulation's own law is the transition's up to its step.
    CHECK(mean == Approx(level.scale * 0.7).epsilon(0.01));
    CHECK(variance == Approx(level.deviation() * level.deviation()).epsilon(0.01));
    CHECK(level.sigma == Approx(2).epsilon(1e-12));

    stream.normals(std::span(z), steps * paths);
    const std::vector<NoiseLevel> levels{level};
    const B::Tensor perturbed = perturb<B>(filled<B>({1, paths}, 0.7), levels, tensor<B>({1, paths}, z));
    for (const std::vector<double>& values : {x, B::to_host(perturbed)}) {
      std::vector<double> squares;
      for (const double value : values) squares.push_back((value - mean) * (value - mean));
      CHECK(z_of_mean(values, mean, std::sqrt(variance)) < largest_z);
      CHECK(z_of_mean(squares, variance, variance * std::numbers::sqrt2) < largest_z);
    }
    CHECK(perturbed.values[3] == Approx(level.scale * (0.7 + 2 * z[3])).epsilon(1e-12));
  }
}

TEST_CASE("a level of variance sigma^2, not sigma, and one level per sample") {
  const std::vector<NoiseLevel> levels{{1, 3}, {0.5, 4}};
  const B::Tensor noisy = perturb<B>(tensor<B>({2, 1}, {10, 20}), levels, tensor<B>({2, 1}, {1, -1}));
  CHECK(B::to_host(noisy) == std::vector<double>{13, 8});
}

TEST_CASE("Table 1: check values of noise levels") {
  const auto sigma_at = [](const NoiseProcess& process, double time) { return process.at(time).level.sigma; };
  CHECK(sigma_at(VP{}.process(), 1) == Approx(152.16697).epsilon(1e-7));
  CHECK(sigma_at(VP{}.process(), 1e-3) == Approx(0.010485993).epsilon(1e-7));
  const VP again = VP::from_range(sigma_at(VP{}.process(), 1e-3), sigma_at(VP{}.process(), 1));
  CHECK(again.beta_d == Approx(19.9).epsilon(1e-9));
  CHECK(again.beta_min == Approx(0.1).epsilon(1e-9));
  CHECK(VP::from_range(0.002, 80).beta_d == Approx(17.537957).epsilon(1e-7));
  CHECK(VP::from_range(0.002, 80).beta_min == Approx(-0.004769).epsilon(1e-3));
  const VP below = VP::from_range(0.002, 80);
  const SubVP sub_below{.beta_d = below.beta_d, .beta_min = below.beta_min};
  for (const Formulation& formulation : {Formulation(below), Formulation(sub_below)}) {
    for (const double uniform : {0x1p-53, 1e-5, 1e-4, 5e-4, 0.5}) {
      CHECK(formulation.sigma_distribution().quantile(uniform) > 0);
    }
  }
  const std::vector<double>& u = IDDPM::levels();
  REQUIRE(u.size() == 1000);
  CHECK(u[0] == Approx(20291.170).epsilon(1e-7));
  CHECK(u[8] == Approx(80.203702).epsilon(1e-7));
  CHECK(u[999] == Approx(0.0064254128).epsilon(1e-7));
  CHECK(std::is_sorted(u.rbegin(), u.rend()));
}

TEST_CASE("preconditioning, weights and schedules of the formulations before EDM") {
  for (const double sigma : {0.05, 1.0, 30.0}) {
    const Preconditioning vp = VP{}.preconditioning(sigma), ve = VE{}.preconditioning(sigma);
    const Preconditioning iddpm = IDDPM{}.preconditioning(sigma), sub = SubVP{}.preconditioning(sigma);
    for (const Preconditioning& c : {vp, iddpm}) {
      CHECK((c.c_skip == 1 && c.c_out == -sigma));
      CHECK(c.c_in == Approx(1 / std::sqrt(sigma * sigma + 1)).epsilon(1e-14));
    }
    CHECK(VP{}.process().at(vp.c_noise / 999).level.sigma == Approx(sigma).epsilon(1e-10));
    CHECK(SubVP{}.process().at(sub.c_noise / 999).level.sigma == Approx(sigma).epsilon(1e-10));
    CHECK(sub.c_in == Approx(SubVP{}.process().at(sub.c_noise / 999).level.scale).epsilon(1e-10));
    CHECK((sub.c_skip == 1 && sub.c_out == -sigma));
    CHECK((ve.c_skip == 1 && ve.c_out == sigma && ve.c_in == 1));
    CHECK(ve.c_noise == Approx(std::log(sigma / 2)).epsilon(1e-14));
    for (const Formulation& formulation :
         {Formulation(VP{}), Formulation(SubVP{}), Formulation(VE{}), Formulation(IDDPM{})}) {
      CHECK(formulation.loss_weight(sigma) == Approx(1 / (sigma * sigma)).epsilon(1e-14));
    }
  }
  for (const Formulation& formulation : all) {
    const double c_out = formulation.preconditioning(0.7).c_out;
    CHECK(formulation.loss_weight(0.7) * c_out * c_out == Approx(1).epsilon(1e-14));
  }
  const std::vector<double>& u = IDDPM::levels();
  for (const std::size_t level : {0U, 1U, 500U, 998U, 999U}) {
    CHECK(IDDPM::nearest_level(u[level]) == static_cast<std::int64_t>(level));
    CHECK(IDDPM{}.preconditioning(u[level]).c_noise == 999 - static_cast<double>(level));
  }
  CHECK(IDDPM::nearest_level(u[500] * 0.51 + u[501] * 0.49) == 500);
  CHECK(IDDPM::nearest_level(u[500] * 0.49 + u[501] * 0.51) == 501);
  CHECK((IDDPM::nearest_level(1e9) == 0 && IDDPM::nearest_level(1e-9) == 999));
  CHECK(IDDPM{}.sigma_schedule()(1) == std::vector<double>{u[8]});
  CHECK(IDDPM{}.sigma_schedule()(3) == std::vector<double>{u[8], u[504], u[999]});
  CHECK(VP{}.sigma_schedule()(2)[1] == Approx(0.010485993).epsilon(1e-7));
  CHECK(VE{}.sigma_schedule()(3)[1] == Approx(std::sqrt(2.0)).epsilon(1e-12));
  CHECK(Formulation(EDM{}).prior() == NoiseLevel{1, EDM{}.sigma_schedule()(1)[0]});
  CHECK(Formulation(VE{}).prior().deviation() == 100);
  CHECK(Formulation(VP{}).prior().deviation() == Approx(std::sqrt(1 - std::exp(-10.05))).epsilon(1e-12));
  CHECK(Formulation(SubVP{}).prior().deviation() == Approx(1 - std::exp(-10.05)).epsilon(1e-12));
}

// False-alarm rate: 9e-7 for each distribution of a continuous kind, 1e-6 for the finite one.
TEST_CASE("training draws the noise levels of Table 1") {
  const RandomStream stream({9}, Purpose::sigma, 0, 0);
  const auto drawn = [&](const Formulation& formulation) {
    std::vector<double> sigmas;
    for (std::uint64_t i = 0; i < 20'000; ++i) {
      sigmas.push_back(formulation.sigma_distribution().quantile(stream.uniform(i)));
    }
    return sigmas;
  };
  CHECK(kolmogorov(drawn(EDM{}), [](double sigma) {
          return 0.5 * std::erfc(-(std::log(sigma) + 1.2) / 1.2 / std::numbers::sqrt2);
        }) < largest_kolmogorov);
  CHECK(kolmogorov(drawn(VE{}), [](double sigma) { return std::log(sigma / 0.02) / std::log(5000); }) <
        largest_kolmogorov);
  for (const Formulation& formulation : {Formulation(VP{}), Formulation(SubVP{})}) {
    CHECK(kolmogorov(drawn(formulation), [&](double sigma) {
            return (formulation.process().time(sigma) - 1e-5) / (1 - 1e-5);
          }) < largest_kolmogorov);
  }
  std::vector<double> counts(1000);
  for (const double sigma : drawn(IDDPM{})) {
    const auto level = static_cast<std::size_t>(IDDPM::nearest_level(sigma));
    CHECK(IDDPM::levels()[level] == sigma);
    ++counts[level];
  }
  CHECK(chi_square(counts, 20) < largest_chi_square(1000));
  const SigmaDistribution list = SigmaDistribution::uniform_over({1, 2, 4});
  CHECK((list.quantile(0.01) == 1 && list.quantile(0.5) == 2 && list.quantile(0.99) == 4));
}

TEST_CASE("every formulation is made again from its name and settings") {
  for (const Formulation& formulation :
       {Formulation(EDM{.sigma_data = 0.3}), Formulation(IDDPM{}), Formulation(SubVP{.beta_d = 18, .beta_min = 0.2}),
        Formulation(VE{.sigma_min = 0.1, .sigma_max = 50}), Formulation(VP{.beta_d = 18, .beta_min = 0.2})}) {
    std::vector<std::pair<std::string, double>> settings;
    formulation.visit_settings([&](std::string_view key, double value) { settings.emplace_back(key, value); });
    const Formulation again = named_formulation(formulation.name(), [&](std::string_view key, double) {
      return std::find_if(settings.begin(), settings.end(), [&](const auto& known) { return known.first == key; })
          ->second;
    });
    CHECK(again.name() == formulation.name());
    CHECK(again.preconditioning(0.4).c_noise == formulation.preconditioning(0.4).c_noise);
    CHECK(again.preconditioning(0.4).c_out == formulation.preconditioning(0.4).c_out);
    CHECK(again.sigma_schedule()(5) == formulation.sigma_schedule()(5));
  }
}

TEST_CASE("formulations and distributions refuse settings that cannot work") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK_ERROR(ConfigError, "VP: beta_d: expected a finite value > 0, got 0", Formulation(VP{.beta_d = 0}));
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_ERROR(ConfigError, "VP::from_range: sigma_min: expected a value > 0 and < 0.09382, got 1",
              VP::from_range(1, 80));
  CHECK_ERROR(ConfigError, "VP::from_range: sigma_min: expected a value > 0 and < 0.09382, got 0",
              VP::from_range(0, 80));
  CHECK_ERROR(ConfigError, "VP::from_range: sigma_min: expected a value > 0 and < 0.09382, got nan",
              VP::from_range(nan, 80));
  CHECK_ERROR(ConfigError, "VP::from_range: sigma_max: expected a finite value > 0, got 0", VP::from_range(0.002, 0));
  CHECK_ERROR(ConfigError, "VP::from_range: sigma_max: expected a finite value > 0, got inf",
              VP::from_range(0.002, infinity));
  CHECK_NOTHROW(Formulation(VP::from_range(0.0938, 80)));
  CHECK_ERROR(ConfigError, "SubVP: beta_min: expected a finite value > -0.001, got -0.001",
              Formulation(SubVP{.beta_d = 2, .beta_min = -0.001}));
  CHECK_ERROR(ConfigError, "VE: sigma_min: expected a value > 0, got 0", Formulation(VE{.sigma_min = 0}));
  CHECK_ERROR(ConfigError, "VE: sigma_max: expected a finite value > sigma_min = 2, got 1",
              Formulation(VE{.sigma_min = 2, .sigma_max = 1}));
  CHECK_ERROR(ConfigError, "SigmaDistribution::log_uniform: sigma_min: expected a value > 0, got 0",
              SigmaDistribution::log_uniform(0, 1));
  CHECK_ERROR(ConfigError,
              "SigmaDistribution::log_uniform: sigma_max: expected a finite value > sigma_min = 1, got inf",
              SigmaDistribution::log_uniform(1, infinity));
  CHECK_ERROR(ConfigError, "SigmaDistribution::uniform_over: sigmas: expected at least one value, got none",
              SigmaDistribution::uniform_over({}));
  CHECK_ERROR(ConfigError, "SigmaDistribution::uniform_over: sigmas: expected finite values > 0, got -1",
              SigmaDistribution::uniform_over({1, -1}));
}

}  // namespace
}  // namespace patchdiff
