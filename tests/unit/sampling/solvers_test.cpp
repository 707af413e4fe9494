// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>
#include <patchdiff/sampling/ancestral_euler.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/dpm_solver_pp_2m.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/euler_maruyama.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/predictor_corrector.hpp>
#include <patchdiff/sampling/rk45.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/affine_sampler.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/mixture_denoiser.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Progress = SamplingProgress<B>;

/// A host's own solver: Kutta's method of order 3.
struct Kutta {
  template <Backend W>
  typename W::Tensor step(SolverStep<W>& step, const typename W::Tensor& x) const {
    const double time = step.time(), length = step.next_time() - time;
    const auto first = step.slope(x, time);
    if (step.ends_at_data()) return linear<W>(1, x, length, first);
    const auto second = step.slope(linear<W>(1, x, length / 2, first), time + length / 2);
    const auto ahead = linear<W>(1, linear<W>(1, x, -length, first), 2 * length, second);
    const auto third = step.slope(ahead, step.next_time());
    const auto sum = linear<W>(1, linear<W>(1. / 6, first, 4. / 6, second), 1. / 6, third);
    return linear<W>(1, x, length, sum);
  }
};

static_assert(Solver<Kutta, B> && Solver<Euler, B> && Solver<RK45, B> && Solver<Churn<Kutta>, B>);
static_assert(!Solver<int, B> && !Solver<EDM, B>);

const GaussianDenoiser<B> gaussian{.shape = {1, 1, 1}, .mean = 0.3, .deviation = 0.5};

constexpr double first_sigma = 10, last_sigma = 0.05;

/// The unscaled state of one pixel of value x at `first_sigma` once it is at `last_sigma`.
template <class D, class S>
double end_of_steps(const D& denoiser, double x, const S& solver, const NoiseProcess& process, std::int64_t steps) {
  // The step after the last one would end at the data.
  const ODESampler<S> sampler({.num_steps = steps + 1,
                               .schedule = SigmaSchedule::edm({.sigma_min = last_sigma, .sigma_max = first_sigma}),
                               .process = process},
                              solver);
  const auto no_noise = [](std::int64_t, std::int64_t) -> B::Tensor { throw std::logic_error("there is no noise"); };
  const auto stop = [&](const Progress& progress) { return progress.step < steps ? Flow::proceed : Flow::stop; };
  return sampler
      .solve(denoiser, tensor<B>({1, 1, 1, 1}, {x / first_sigma}), Places::whole({1, 1}, 1), {}, no_noise, stop)
      .values[0];
}

template <class S>
double end_of_steps(const S& solver, const NoiseProcess& process, std::int64_t steps) {
  return end_of_steps(gaussian, 7, solver, process, steps);
}

const double exact_end = gaussian.solution(7, first_sigma, last_sigma);

/// Checks the order of convergence on the paths of Gaussian data and of a mixture.
///
/// `highest` is above it where the first term of the error vanishes in some process for Gaussian data.
template <class S>
void check_order(const S& solver, double order, double highest) {
  const MixtureDenoiser mixture{.shape = {1, 1, 1}, .weight = 0.3, .deviation = 0.3};
  for (const NoiseProcess& process : {EDM{}.process(), VP{}.process(), VE{}.process(), SubVP{}.process(),
                                      VP{}.process().unscaled(), EDM{}.process().variance_preserving()}) {
    CAPTURE(process.name(), order);
    const auto check = [&](const auto& denoiser, double x, double most) {
      const double exact = denoiser.solution(x, first_sigma, last_sigma);
      const auto error = [&](std::int64_t steps) {
        return std::abs(end_of_steps(denoiser, x, solver, process, steps) - exact);
      };
      const double measured = std::log2(error(512) / error(1024));
      CHECK((measured > order - 0.1 && measured < most + 0.1));
      CHECK(error(1024) < 0.05);
    };
    check(gaussian, 7, highest);
    check(mixture, 2, order);
  }
}

TEST_CASE("each solver converges with its order on the closed-form path, in every process") {
  SECTION("Euler") { check_order(Euler{}, 1, 1); }
  SECTION("ancestral Euler without noise") { check_order(AncestralEuler(0), 1, 1); }
  SECTION("Heun") { check_order(Heun{}, 2, 2); }
  SECTION("midpoint") { check_order(Heun(0.5), 2, 3); }
  SECTION("Ralston") { check_order(Heun(2. / 3), 2, 2); }
  SECTION("DPM-Solver++(2M)") { check_order(DPMSolverPP2M{}, 2, 2); }
  SECTION("a host's own") { check_order(Kutta{}, 3, 3); }
}

TEST_CASE("a solver of order 3 converges down to rounding") {
  CHECK(end_of_steps(Kutta{}, EDM{}.process(), 60'000) == Approx(exact_end).epsilon(1e-12));
}

TEST_CASE("exponential solvers do not depend on the process, as others do") {
  const auto end = [](const auto& solver, const NoiseProcess& process) { return end_of_steps(solver, process, 8); };
  for (const NoiseProcess& process : {VP{}.process(), VE{}.process(), SubVP{}.process()}) {
    CAPTURE(process.name());
    CHECK(end(DPMSolverPP2M{}, process) == Approx(end(DPMSolverPP2M{}, EDM{}.process())).epsilon(1e-9));
    CHECK(end(AncestralEuler(0), process) == Approx(end(Euler{}, EDM{}.process())).epsilon(1e-9));
    CHECK(std::abs(end(Euler{}, process) - end(Euler{}, EDM{}.process())) > 1e-3);
  }
}

TEST_CASE("RK45 meets its tolerance in every process, with few calls") {
  for (const NoiseProcess& process : {EDM{}.process(), VP{}.process(), VE{}.process(), SubVP{}.process()}) {
    CAPTURE(process.name());
    for (const double tolerance : {1e-3, 1e-6, 1e-9, 1e-12}) {
      CAPTURE(tolerance);
      const RK45 solver({.relative_tolerance = tolerance, .absolute_tolerance = tolerance});
      const double error = std::abs(end_of_steps(solver, process, 1) - exact_end);
      CHECK(error < 100 * tolerance);
    }
  }
  std::int64_t nfe = 0;
  ODESampler({.num_steps = 2}, RK45{})(gaussian, {.seeds = {1}}, [&](const Progress& progress) {
    nfe = progress.nfe;
    return Flow::proceed;
  });
  CHECK((nfe > 30 && nfe < 300));
}

TEST_CASE("a seed's sample under RK45 depends on the batch only within the tolerance") {
  const GaussianDenoiser<B> images{.shape = {1, 4, 4}};
  const ODESampler sampler({.num_steps = 4}, RK45{});
  const B::Tensor both = sampler(images, {.seeds = {1, 2}});
  const B::Tensor alone = sampler(images, {.seeds = {2}});
  for (std::size_t i = 0; i < 16; ++i) CHECK(both.values[16 + i] == Approx(alone.values[i]).margin(1e-3));
}

TEST_CASE("RK45 solves any equation, in both directions, and says where it cannot") {
  const RK45 solver({.relative_tolerance = 1e-10, .absolute_tolerance = 1e-10});
  const B::Tensor start = tensor<B>({2, 1}, {1, -2});
  const auto grow = [](const B::Tensor& x, double time) { return linear<B>(std::cos(time), x); };
  const B::Tensor there = solver.integrate<B>(grow, start, 0, 5);
  CHECK(there.values[0] == Approx(std::exp(std::sin(5))).epsilon(1e-8));
  const B::Tensor back = solver.integrate<B>(grow, there, 5, 0);
  for (std::size_t n = 0; n < 2; ++n) CHECK(back.values[n] == Approx(start.values[n]).epsilon(1e-8));
  CHECK(B::to_host(solver.integrate<B>(grow, start, 3, 3)) == B::to_host(start));
  const auto broken = [](const B::Tensor& x, double time) { return linear<B>(time < 1 ? 1 : std::sqrt(-1.0), x); };
  CHECK(std::isnan(solver.integrate<B>(broken, start, 0, 5).values[0]));
  const auto pole = [](const B::Tensor& x, double time) { return linear<B>(1 / (1 - time), x); };
  CHECK_THROWS_MATCHES(
      solver.integrate<B>(pole, start, 0, 2), NumericError,
      Catch::Matchers::Message("RK45: tolerance: expected one that some substep meets, got none at time 1"));
}

/// Checks the law that a solver draws from each formulation, in its own process and schedule, against the data's.
///
/// The law of a stochastic solver converges to the data's with its weak order; that of the others keeps the difference
/// between the prior's mean, 0, and that of the noisy data, about 1e-3. The denoised last step from VE's sigma_min,
/// 0.02, leaves 4e-4.
template <class S>
void check_laws(const S& solver, std::int64_t steps, double tolerance, double weak_order = 0) {
  constexpr double last_step = 4e-4;
  for (const Formulation& formulation :
       {Formulation(EDM{}), Formulation(VP{}), Formulation(VE{}), Formulation(SubVP{}), Formulation(IDDPM{})}) {
    CAPTURE(formulation.name());
    const auto error = [&](std::int64_t count) {
      const ODESampler<S> sampler(
          {.num_steps = count, .schedule = formulation.sigma_schedule(), .process = formulation.process()}, solver);
      return distance(law_of(sampler), CorrelatedDenoiser::law());
    };
    const double fine = error(steps);
    CHECK(fine < tolerance);
    if (weak_order > 0) CHECK((error(steps / 4) / fine > 0.6 * std::pow(4, weak_order) || fine < last_step));
  }
}

TEST_CASE("samples have the mean and covariance of Gaussian data, under every solver and formulation") {
  SECTION("Euler") { check_laws(Euler{}, 512, 0.03); }
  SECTION("Heun") { check_laws(Heun{}, 256, 0.002); }
  SECTION("midpoint") { check_laws(Heun(0.5), 256, 0.002); }
  SECTION("Ralston") { check_laws(Heun(2. / 3), 256, 0.002); }
  SECTION("DPM-Solver++(2M)") { check_laws(DPMSolverPP2M{}, 256, 0.002); }
  SECTION("DPM-Solver++(2M) SDE") { check_laws(DPMSolverPP2M(1), 256, 0.005, 2); }
  SECTION("ancestral Euler") { check_laws(AncestralEuler{}, 512, 0.01, 1); }
  SECTION("churn") { check_laws(Churn({.s_churn = 20}), 256, 0.001, 2); }
  SECTION("Euler-Maruyama") { check_laws(EulerMaruyama{}, 512, 0.005, 1); }
  SECTION("RK45") { check_laws(RK45{}, 64, 0.002); }
  SECTION("a host's own") { check_laws(Kutta{}, 256, 0.002); }
}

TEST_CASE("without noise, stochastic solvers are the deterministic ones bit for bit") {
  const GaussianDenoiser<B> images{.shape = {1, 4, 4}};
  const auto samples = [&](const auto& solver, const Formulation& formulation) {
    return B::to_host(
        ODESampler({.num_steps = 7, .schedule = formulation.sigma_schedule(), .process = formulation.process()},
                   solver)(images, {.seeds = {1, 2}}));
  };
  for (const Formulation& formulation : {Formulation(EDM{}), Formulation(VP{})}) {
    CHECK(samples(Churn({.s_churn = 0}), formulation) == samples(Heun{}, formulation));
    CHECK(samples(Churn({.s_churn = 9, .s_tmin = 1e6}), formulation) == samples(Heun{}, formulation));
    CHECK(samples(Churn({.s_churn = 0}, Euler{}), formulation) == samples(Euler{}, formulation));
    CHECK(samples(Churn({.s_churn = 9}), formulation) != samples(Heun{}, formulation));
    CHECK(samples(DPMSolverPP2M(1), formulation) != samples(DPMSolverPP2M(0), formulation));
  }
}

TEST_CASE("a solver chosen by name is that solver with its usual settings, bit for bit") {
  const GaussianDenoiser<B> images{.shape = {1, 4, 4}};
  const auto samples = [&](const auto& solver) {
    return B::to_host(ODESampler({.num_steps = 5}, solver)(images, {.seeds = {1, 2}}));
  };
  CHECK(samples(NamedSolver{SolverName::euler}) == samples(Euler{}));
  CHECK(samples(NamedSolver{SolverName::heun}) == samples(Heun{}));
  CHECK(samples(NamedSolver{SolverName::dpmpp_2m}) == samples(DPMSolverPP2M{}));
  CHECK(samples(NamedSolver{SolverName::dpmpp_2m_sde}) == samples(DPMSolverPP2M(1)));
  CHECK(samples(NamedSolver{SolverName::ancestral_euler}) == samples(AncestralEuler{}));
  CHECK(samples(NamedSolver{}) == samples(Heun{}));
}

TEST_CASE("calls of the denoiser: N for solvers of one stage, 2 N - 1 for those of two") {
  const auto nfe = [](const auto& solver, std::int64_t steps) {
    std::int64_t calls = 0;
    ODESampler({.num_steps = steps}, solver)(gaussian, {.seeds = {1}}, [&](const Progress& progress) {
      calls = progress.nfe;
      return Flow::proceed;
    });
    return calls;
  };
  for (const std::int64_t steps : {1, 2, 18}) {
    CHECK(nfe(Euler{}, steps) == steps);
    CHECK(nfe(AncestralEuler{}, steps) == steps);
    CHECK(nfe(DPMSolverPP2M{}, steps) == steps);
    CHECK(nfe(DPMSolverPP2M(1), steps) == steps);
    CHECK(nfe(EulerMaruyama{}, steps) == steps);
    CHECK(nfe(Heun{}, steps) == 2 * steps - 1);
    CHECK(nfe(Heun(0.5), steps) == 2 * steps - 1);
    CHECK(nfe(Churn({.s_churn = 5}), steps) == 2 * steps - 1);
    CHECK(nfe(PredictorCorrector{}, steps) == 2 * steps - 1);
    CHECK(nfe(PredictorCorrector({.num_corrections = 3}), steps) == 4 * steps - 3);
    CHECK(nfe(Kutta{}, steps) == 3 * steps - 2);
  }
}

TEST_CASE("one step is the denoised image of pure noise") {
  const double x = 80 * 0.7;
  const auto end = [](const auto& solver) {
    return ODESampler({.num_steps = 1}, solver)
        .solve(gaussian, tensor<B>({1, 1, 1, 1}, {0.7}), Places::whole({1, 1}, 1), {},
               [](std::int64_t, std::int64_t) {
                 return filled<B>({1, 1, 1, 1}, 0);
               })
        .values[0];
  };
  const double expected = (0.25 * x + 6400 * 0.3) / 6400.25;
  CHECK(end(Euler{}) == Approx(expected).epsilon(1e-9));
  CHECK(end(Heun{}) == Approx(expected).epsilon(1e-9));
  CHECK(end(DPMSolverPP2M(1)) == Approx(expected).epsilon(1e-9));
  CHECK(end(AncestralEuler{}) == Approx(expected).epsilon(1e-9));
  CHECK(end(RK45{}) == Approx(expected).epsilon(1e-9));
}

TEST_CASE("solvers refuse settings that cannot work") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_ERROR(ConfigError, "Heun: alpha: expected a value in (0, 1], got 0", Heun(0));
  CHECK_ERROR(ConfigError, "Heun: alpha: expected a value in (0, 1], got 1.5", Heun(1.5));
  CHECK_ERROR(ConfigError, "AncestralEuler: eta: expected a finite value >= 0, got -1", AncestralEuler(-1));
  CHECK_ERROR(ConfigError, "DPMSolverPP2M: eta: expected a finite value >= 0, got nan", DPMSolverPP2M(nan));
  CHECK_ERROR(ConfigError, "Churn: s_churn: expected a value >= 0, got -1", Churn({.s_churn = -1}));
  CHECK_ERROR(ConfigError, "Churn: s_churn: expected a value >= 0, got nan", Churn({.s_churn = nan}));
  CHECK_ERROR(ConfigError, "Churn: s_tmin: expected a noise level, got nan", Churn({.s_tmin = nan}));
  CHECK_ERROR(ConfigError, "Churn: s_tmax: expected a noise level, got nan", Churn({.s_tmax = nan}));
  CHECK_ERROR(ConfigError, "Churn: s_noise: expected a finite value >= 0, got -0.5", Churn({.s_noise = -0.5}));
  CHECK_ERROR(ConfigError, "Churn: s_noise: expected a finite value >= 0, got inf", Churn({.s_noise = infinity}));
  CHECK_ERROR(ConfigError, "PredictorCorrector: signal_to_noise: expected a finite value > 0, got 0",
              PredictorCorrector({.signal_to_noise = 0}));
  CHECK_ERROR(ConfigError, "PredictorCorrector: num_corrections: expected at least 1, got 0",
              PredictorCorrector({.num_corrections = 0}));
  CHECK_ERROR(ConfigError, "RK45: relative_tolerance: expected a finite value >= 0, got -1",
              RK45({.relative_tolerance = -1}));
  CHECK_ERROR(ConfigError, "RK45: absolute_tolerance: expected a finite value > 0, got 0",
              RK45({.absolute_tolerance = 0}));
  struct Silent {
    B::Tensor step(SolverStep<B>&, const B::Tensor& x) const { return x; }
  };
  CHECK_ERROR(ConfigError, "ODESampler: solver: expected a call of the denoiser in each step, got none",
              ODESampler({.num_steps = 2}, Silent{})(gaussian, {.seeds = {1}}));
}

}  // namespace
}  // namespace patchdiff
