// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>

namespace patchdiff {

/// A struct that can be a formulation: a name, described settings and plain functions of sigma.
template <class F>
concept FormulationModel = std::copyable<F> && requires(const F& model, double sigma) {
  { F::name } -> std::convertible_to<std::string_view>;
  { model.preconditioning(sigma) } -> std::same_as<Preconditioning>;
  { model.loss_weight(sigma) } -> std::same_as<double>;
  model.check();
};

/// How a diffusion model relates network, noise level and image: EDM, or any struct that fits FormulationModel.
class Formulation {
 public:
  /// Errors: ConfigError for settings that cannot work.
  template <class Model>
    requires(!std::same_as<Model, Formulation>)
  &&FormulationModel<Model> Formulation(Model model)
      : model_(std::make_shared<const Holder<Model>>(std::move(model))) {}

  /// The formulation of that name; `setting(key, default)` gives the value of each of its settings.
  ///
  /// Errors: DataError for an unknown name.
  static Formulation named(std::string_view name, const std::function<double(std::string_view, double)>& setting) {
    if (name == EDM::name) return with_settings(EDM{}, setting);
    throw DataError("Formulation", "name", "\"edm\"", '"' + std::string(name) + '"');
  }

  std::string_view name() const { return model_->name(); }

  Preconditioning preconditioning(double sigma) const { return model_->preconditioning(sigma); }

  /// lambda(sigma), the weight of the squared error of the denoised image.
  double loss_weight(double sigma) const { return model_->loss_weight(sigma); }

  /// Calls `visit(key, value)` for each setting.
  void visit_settings(const std::function<void(std::string_view, double)>& visit) const {
    model_->visit_settings(visit);
  }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual std::string_view name() const = 0;
    virtual Preconditioning preconditioning(double sigma) const = 0;
    virtual double loss_weight(double sigma) const = 0;
    virtual void visit_settings(const std::function<void(std::string_view, double)>& visit) const = 0;
  };

  template <class Model>
  struct Holder final : Interface {
    explicit Holder(Model held) : model(std::move(held)) { model.check(); }
    std::string_view name() const override { return Model::name; }
    Preconditioning preconditioning(double sigma) const override { return model.preconditioning(sigma); }
    double loss_weight(double sigma) const override { return model.loss_weight(sigma); }
    void visit_settings(const std::function<void(std::string_view, double)>& visit) const override {
      describe(model, [&](std::string_view key, double value, std::string_view) { visit(key, value); });
    }
    Model model;
  };

  template <class Model>
  static Formulation with_settings(Model model, const std::function<double(std::string_view, double)>& setting) {
    describe(model, [&](std::string_view key, double& value, std::string_view) { value = setting(key, value); });
    return model;
  }

  std::shared_ptr<const Interface> model_;
};

}  // namespace patchdiff
