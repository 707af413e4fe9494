// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/sampling/ancestral_euler.hpp>
#include <patchdiff/sampling/dpm_solver_pp_2m.hpp>
#include <patchdiff/sampling/euler.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// Solvers that files and command lines know.
enum class SolverName : std::uint8_t { euler, heun, dpmpp_2m, dpmpp_2m_sde, ancestral_euler };

constexpr std::array<NamedValue<SolverName>, 5> value_names(SolverName) noexcept {
  return {{{SolverName::euler, "euler"},
           {SolverName::heun, "heun"},
           {SolverName::dpmpp_2m, "dpmpp_2m"},
           {SolverName::dpmpp_2m_sde, "dpmpp_2m_sde"},
           {SolverName::ancestral_euler, "ancestral_euler"}}};
}

/// A solver with its usual settings, chosen at run time: by a command line or a file.
struct NamedSolver {
  SolverName name = SolverName::heun;

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    switch (name) {
      case SolverName::euler: return Euler{}.step(step, x);
      case SolverName::dpmpp_2m: return DPMSolverPP2M{}.step(step, x);
      case SolverName::dpmpp_2m_sde: return DPMSolverPP2M{1}.step(step, x);
      case SolverName::ancestral_euler: return AncestralEuler{}.step(step, x);
      case SolverName::heun: break;
    }
    return Heun{}.step(step, x);
  }
};

}  // namespace patchdiff
