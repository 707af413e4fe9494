// SPDX-License-Identifier: Apache-2.0
// A formulation whose settings nobody can list.
// Message: FormulationModel.*Options::describe[(]options,.* invalid
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>

struct Plain {
  static constexpr const char* name = "plain";
  patchdiff::EDM edm{};

  patchdiff::Preconditioning preconditioning(double sigma) const { return edm.preconditioning(sigma); }
  double loss_weight(double sigma) const { return edm.loss_weight(sigma); }
  patchdiff::SigmaDistribution sigma_distribution() const { return edm.sigma_distribution(); }
  patchdiff::NoiseProcess process() const { return edm.process(); }
  patchdiff::SigmaSchedule sigma_schedule() const { return edm.sigma_schedule(); }
  void check() const {}
#ifndef MUST_FAIL
  template <class Self, class Visitor>
  static void describe(Self&, Visitor&&) {}
#endif
};

const patchdiff::Formulation formulation(Plain{});
