// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/diffusion/sigma_distribution.hpp>
#include <patchdiff/diffusion/weighting.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// How the pixels of one sample make one number: their sum, as published, or their mean.
///
/// Under the sum a patch with a quarter of the pixels weighs about a quarter of a full image.
enum class Reduction { sum, mean };

constexpr std::array<NamedValue<Reduction>, 2> value_names(Reduction) noexcept {
  return {{{Reduction::sum, "sum"}, {Reduction::mean, "mean"}}};
}

/// What EDMLoss weights, and how it adds up pixels.
struct EDMLossOptions {
  std::optional<SigmaDistribution> sigma{};  ///< the formulation's own where absent
  Weighting weighting = Weighting::of_formulation();
  Reduction reduction = Reduction::sum;
};

/// A loss and its derivative.
template <Backend B>
struct LossValue {
  typename B::Tensor per_sample;  ///< [N]
  typename B::Tensor gradient;    ///< of the sum of per_sample, with respect to the denoised images
};

/// The denoising loss lambda(sigma) |D(y + n; sigma) - y|^2, pure in noise and sigma.
///
/// Source: EDM (arXiv 2206.00364), equations 2 and 8.
template <Backend B>
class EDMLoss {
 public:
  using Tensor = typename B::Tensor;

  explicit EDMLoss(EDMLossOptions options = {}) : options_(std::move(options)) {}

  /// One noise level per sample, from sample `first_sample` of the step on.
  ///
  /// Draws: one uniform number per sample (`Purpose::sigma`).
  std::vector<double> draw_sigma(const Formulation& formulation, const PatchPlan& plan, std::int64_t count,
                                 std::uint64_t first_sample = 0) const {
    const SigmaDistribution distribution = options_.sigma ? *options_.sigma : formulation.sigma_distribution();
    std::vector<double> sigma;
    for (std::int64_t sample = 0; sample < count; ++sample) {
      const RandomStream stream = plan.stream(Purpose::sigma, first_sample + static_cast<std::uint64_t>(sample));
      sigma.push_back(distribution.quantile(stream.uniform(0)));
    }
    return sigma;
  }

  /// The weighted squared error of each pixel, lambda(sigma) m (D - y)^2, before any reduction.
  ///
  /// Shapes: denoised and clean [N, C, h, w]; mask m [N, 1 or C, h, w]; sigma N values. Images must be finite where the
  /// mask is 0 too: their errors are multiplied by it.
  Tensor pixel_losses(const Formulation& formulation, const Tensor& denoised, const Tensor& clean,
                      std::span<const double> sigma, const std::optional<Tensor>& mask = {}) const {
    check(denoised, clean, sigma, mask);
    const Errors errors = weighted_errors(formulation, denoised, clean, sigma, mask, 1);
    return B::multiply(errors.weighted, errors.plain);
  }

  /// The loss of each sample, and the gradient of their sum; shapes as of `pixel_losses`.
  ///
  /// Errors: ShapeError for tensors that do not fit each other, DataError for sigma <= 0 or not finite.
  LossValue<B> operator()(const Formulation& formulation, const Tensor& denoised, const Tensor& clean,
                          std::span<const double> sigma, const std::optional<Tensor>& mask = {}) const {
    check(denoised, clean, sigma, mask);
    const Shape shape = B::shape(clean);
    const double pixels = static_cast<double>(element_count(shape)) / static_cast<double>(shape.front());
    const double factor = options_.reduction == Reduction::mean ? 1 / pixels : 1;
    const Errors errors = weighted_errors(formulation, denoised, clean, sigma, mask, factor);
    const std::vector<double> two(sigma.size(), 2.0);
    return {.per_sample = B::sum_per_sample(B::multiply(errors.weighted, errors.plain)),
            .gradient = B::scale(two, errors.weighted)};
  }

  const EDMLossOptions& options() const noexcept { return options_; }

 private:
  struct Errors {
    Tensor plain;
    Tensor weighted;
  };

  Errors weighted_errors(const Formulation& formulation, const Tensor& denoised, const Tensor& clean,
                         std::span<const double> sigma, const std::optional<Tensor>& mask, double factor) const {
    std::vector<double> weights;
    for (const double level : sigma) weights.push_back(factor * options_.weighting(formulation, level));
    const std::vector<double> plus(sigma.size(), 1.0);
    const std::vector<double> minus(sigma.size(), -1.0);
    Tensor plain = B::combine(plus, denoised, minus, clean);
    Tensor weighted = B::scale(weights, plain);
    if (mask) weighted = B::multiply(weighted, *mask);
    return {std::move(plain), std::move(weighted)};
  }

  static void check(const Tensor& denoised, const Tensor& clean, std::span<const double> sigma,
                    const std::optional<Tensor>& mask) {
    const Shape shape = B::shape(clean);
    if (shape.size() != 4) refuse<ShapeError>("EDMLoss", "clean", "rank 4, [N, C, h, w]", to_string(shape));
    if (B::shape(denoised) != shape) {
      refuse<ShapeError>("EDMLoss", "denoised", to_string(shape), to_string(B::shape(denoised)));
    }
    if (static_cast<std::int64_t>(sigma.size()) != shape[0]) {
      refuse<ShapeError>("EDMLoss", "sigma", str(shape[0], " values"), str(sigma.size()));
    }
    for (const double level : sigma) {
      require<DataError>(level > 0 && std::isfinite(level), "EDMLoss", "sigma", "finite values > 0", level);
    }
    if (mask) {
      const Shape got = B::shape(*mask);
      if (got.size() != 4 || got[0] != shape[0] || (got[1] != 1 && got[1] != shape[1]) || got[2] != shape[2] ||
          got[3] != shape[3]) {
        refuse<ShapeError>("EDMLoss", "mask",
                           str('[', shape[0], ", 1 or ", shape[1], ", ", shape[2], ", ", shape[3], ']'),
                           to_string(got));
      }
    }
  }

  EDMLossOptions options_;
};

}  // namespace patchdiff
