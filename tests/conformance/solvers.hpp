// SPDX-License-Identifier: Apache-2.0
// Solvers and formulations on a backend beside plain vectors of double; part of conformance/suite.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/iddpm.hpp>
#include <patchdiff/diffusion/perturb.hpp>
#include <patchdiff/diffusion/prediction.hpp>
#include <patchdiff/diffusion/sub_vp.hpp>
#include <patchdiff/diffusion/ve.hpp>
#include <patchdiff/diffusion/vp.hpp>
#include <patchdiff/sampling/ancestral_euler.hpp>
#include <patchdiff/sampling/churn.hpp>
#include <patchdiff/sampling/dpm_solver_pp_2m.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/euler_maruyama.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/predictor_corrector.hpp>
#include <patchdiff/sampling/rk45.hpp>

#include "conformance/components.hpp"
#include "conformance/primitives.hpp"
#include "custom_backend/pixelwise_network.hpp"
#include "support/tensors.hpp"

namespace patchdiff::conformance {

/// What a solver draws from a model of a formulation, in its process and schedule.
template <Backend B, class S>
Values samples_of(const Formulation& formulation, const S& solver, typename B::Device device) {
  const ImageShape image{2, 3, 4};
  const DenoiserWrapper denoiser{host::PixelwiseNetwork<B>({.in_channels = 4, .out_channels = 2}, {1}, device),
                                 {.image = image, .formulation = formulation}};
  const ODESampler<S> sampler(
      {.num_steps = 6, .schedule = formulation.sigma_schedule(), .process = formulation.process()}, solver);
  return B::Wide::to_host(sampler(denoiser, {.seeds = {1, 2}}));
}

/// Every solver gives the same on every backend, up to rounding that the steps amplify.
template <class Fixture>
void same_samples() {
  using B = typename Fixture::Backend;
  for (const Formulation& formulation :
       {Formulation(EDM{}), Formulation(VP{}), Formulation(VE{}), Formulation(SubVP{}), Formulation(IDDPM{})}) {
    CAPTURE(formulation.name());
    const auto compare = [&](const auto& solver) {
      check_close(samples_of<B>(formulation, solver, Fixture::device()), samples_of<Reference>(formulation, solver, {}),
                  Fixture::trajectory_tolerance);
    };
    compare(Euler{});
    compare(Heun(0.5));
    compare(DPMSolverPP2M(0.5));
    compare(AncestralEuler{});
    compare(Churn({.s_churn = 2}));
    compare(EulerMaruyama{});
    compare(PredictorCorrector{});
    compare(RK45({.relative_tolerance = 1e-3, .absolute_tolerance = 1e-3}));
  }
}

template <class Fixture>
void same_conversions() {
  using B = typename Fixture::Backend;
  const std::vector<NoiseLevel> levels{{1, 0.5}, {0.3, 2}};
  const auto clean = random_tensor<B>({2, 1, 2, 3}, 1, Fixture::device());
  const auto noise = random_tensor<B>({2, 1, 2, 3}, 2, Fixture::device());
  const auto x = perturb<B>(clean, levels, noise);
  const auto score = convert_prediction<B>(noise, Prediction::noise, Prediction::score, x, levels);
  check_close(B::to_host(convert_prediction<B>(score, Prediction::score, Prediction::denoised, x, levels)),
              B::to_host(clean), 10 * Fixture::rounding);
}

}  // namespace patchdiff::conformance
