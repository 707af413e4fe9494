// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <utility>

#include <patchdiff/diffusion/formulation.hpp>

namespace patchdiff {

/// The weight of a sample's squared error at a noise level.
class Weighting {
 public:
  /// A weight of the host's own.
  Weighting(std::string name, std::function<double(const Formulation&, double)> weight)
      : name_(std::move(name)), weight_(std::move(weight)) {}

  /// The formulation's own lambda(sigma), which makes the network's target errors equally large at every sigma.
  static Weighting of_formulation() {
    return {"formulation", [](const Formulation& formulation, double sigma) { return formulation.loss_weight(sigma); }};
  }

  /// 1 at every sigma: the plain denoising objective E |D(y + n) - y|^2.
  static Weighting unit() {
    return {"unit", [](const Formulation&, double) { return 1.0; }};
  }

  double operator()(const Formulation& formulation, double sigma) const { return weight_(formulation, sigma); }

  const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  std::function<double(const Formulation&, double)> weight_;
};

}  // namespace patchdiff
