// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/diffusion/noise_level.hpp>
#include <patchdiff/diffusion/noise_process.hpp>
#include <patchdiff/diffusion/preconditioning.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/sigma_schedule.hpp>

namespace patchdiff {

/// What a network of a formulation sees and is trained for, as plain functions of sigma.
template <class F>
concept TrainsNetworks = requires(const F& model, double sigma) {
  { model.preconditioning(sigma) } -> std::same_as<Preconditioning>;
  { model.loss_weight(sigma) } -> std::same_as<double>;
  { model.sigma_distribution() } -> std::same_as<SigmaDistribution>;
};

/// How a formulation's images turn into noise, and the levels at which they are sampled.
template <class F>
concept TurnsImagesIntoNoise = requires(const F& model) {
  { model.process() } -> std::same_as<NoiseProcess>;
  { model.sigma_schedule() } -> std::same_as<SigmaSchedule>;
};

/// A struct that can be a formulation: a name, described settings with a check, and the two concepts above.
template <class F>
concept FormulationModel = std::copyable<F> && Described<F> && TrainsNetworks<F> && TurnsImagesIntoNoise<F> &&
    requires(const F& model) {
  { F::name } -> std::convertible_to<std::string_view>;
  model.check();
};

/// How a diffusion model relates network, noise level and image: EDM, VP, SubVP, VE, IDDPM, or any struct that fits
/// FormulationModel.
///
/// Source: EDM (arXiv 2206.00364), Table 1, row by row.
class Formulation {
 public:
  /// Errors: ConfigError for settings that cannot work.
  template <class Model>
    requires(!std::same_as<Model, Formulation>)
  &&FormulationModel<Model> Formulation(Model model)
      : model_(std::make_shared<const Holder<Model>>(std::move(model))) {}

  std::string_view name() const { return model_->name(); }

  Preconditioning preconditioning(double sigma) const { return model_->preconditioning(sigma); }

  /// lambda(sigma), the weight of the squared error of the denoised image.
  double loss_weight(double sigma) const { return model_->loss_weight(sigma); }

  /// The noise levels that training draws.
  SigmaDistribution sigma_distribution() const { return model_->sigma_distribution(); }

  /// s(t) and sigma(t), with derivatives, inverse, drift and diffusion.
  NoiseProcess process() const { return model_->process(); }

  /// The noise levels at which a sampler steps.
  SigmaSchedule sigma_schedule() const { return model_->sigma_schedule(); }

  /// Where sampling starts: from normal images of mean 0 and this level's deviation.
  NoiseLevel prior() const {
    const NoiseProcess noise = process();
    return noise.at(noise.time(sigma_schedule()(1).front())).level;
  }

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
    virtual SigmaDistribution sigma_distribution() const = 0;
    virtual NoiseProcess process() const = 0;
    virtual SigmaSchedule sigma_schedule() const = 0;
    virtual void visit_settings(const std::function<void(std::string_view, double)>& visit) const = 0;
  };

  template <class Model>
  struct Holder final : Interface {
    explicit Holder(Model held) : model(std::move(held)) { model.check(); }
    std::string_view name() const override { return Model::name; }
    Preconditioning preconditioning(double sigma) const override { return model.preconditioning(sigma); }
    double loss_weight(double sigma) const override { return model.loss_weight(sigma); }
    SigmaDistribution sigma_distribution() const override { return model.sigma_distribution(); }
    NoiseProcess process() const override { return model.process(); }
    SigmaSchedule sigma_schedule() const override { return model.sigma_schedule(); }
    void visit_settings(const std::function<void(std::string_view, double)>& visit) const override {
      patchdiff::describe(model, [&](std::string_view key, double value, std::string_view) { visit(key, value); });
    }
    Model model;
  };

  std::shared_ptr<const Interface> model_;
};

}  // namespace patchdiff
