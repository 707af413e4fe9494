// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/rk45.hpp>

namespace patchdiff {

/// Between which levels the flow runs, and how closely.
struct ProbabilityFlowOptions {
  double sigma_min = 0.002;  ///< noise level at which images are taken to be, > 0
  double sigma_max = 80;     ///< noise level of the prior, > sigma_min
  double sigma_data = 0.5;   ///< standard deviation of the images, > 0
  RK45Options tolerance{};   ///< error of each substep
};

/// Turns images into noise and back by the probability-flow ODE dy/dsigma = (y - D(y; sigma)) / sigma.
///
/// Solved by RK45 in ln sigma for the normalised z = y / sqrt(sigma^2 + sigma_data^2), which stays where it is for
/// independent normal pixels. Images and patches alike. Source: SDE (arXiv 2011.13456), section 4.3.
class ProbabilityFlow {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit ProbabilityFlow(ProbabilityFlowOptions options = {}) : options_(options), solver_(options.tolerance) {
    require<ConfigError>(options.sigma_min > 0 && std::isfinite(options.sigma_min), "ProbabilityFlow", "sigma_min",
                         "a finite value > 0", options.sigma_min);
    require<ConfigError>(options.sigma_max > options.sigma_min && std::isfinite(options.sigma_max), "ProbabilityFlow",
                         "sigma_max", str("a finite value > sigma_min = ", options.sigma_min), options.sigma_max);
    require<ConfigError>(options.sigma_data > 0 && std::isfinite(options.sigma_data), "ProbabilityFlow", "sigma_data",
                         "a finite value > 0", options.sigma_data);
  }

  /// The noise from which images come; `ODESampler::solve` takes it as its unit noise.
  ///
  /// Shapes: images and noise [N, C, h, w]; one place per sample.
  /// Errors: NumericError where the result is not finite; what the denoiser throws.
  template <Denoiser D>
  typename D::Backend::Wide::Tensor encode(const D& denoiser, const typename D::Backend::Wide::Tensor& images,
                                           const Places& places,
                                           const Conditioning<typename D::Backend>& conditioning = {}) const {
    using Wide = typename D::Backend::Wide;
    const double from = options_.sigma_min, to = options_.sigma_max;
    return linear<Wide>(1 / to, moved(denoiser, images, from, to, places, conditioning));
  }

  /// The images, at level sigma_min, that come from unit normal noise: the inverse of `encode`.
  template <Denoiser D>
  typename D::Backend::Wide::Tensor decode(const D& denoiser, const typename D::Backend::Wide::Tensor& noise,
                                           const Places& places,
                                           const Conditioning<typename D::Backend>& conditioning = {}) const {
    using Wide = typename D::Backend::Wide;
    const double from = options_.sigma_max, to = options_.sigma_min;
    return moved(denoiser, linear<Wide>(from, noise), from, to, places, conditioning);
  }

  /// sqrt(sigma^2 + sigma_data^2), by which images are normalised.
  double spread(double sigma) const noexcept { return std::hypot(sigma, options_.sigma_data); }

  /// dz/d ln sigma of normalised images.
  template <Backend Wide>
  typename Wide::Tensor slope(const typename Wide::Tensor& z, const typename Wide::Tensor& denoised,
                              double sigma) const {
    const double size = spread(sigma), share = options_.sigma_data / size;
    return linear<Wide>(share * share, z, -1 / size, denoised);
  }

  const RK45& solver() const noexcept { return solver_; }
  const ProbabilityFlowOptions& options() const noexcept { return options_; }

 private:
  template <Denoiser D>
  typename D::Backend::Wide::Tensor moved(const D& denoiser, const typename D::Backend::Wide::Tensor& y, double from,
                                          double to, const Places& places,
                                          const Conditioning<typename D::Backend>& conditioning) const {
    using B = typename D::Backend;
    using Wide = typename B::Wide;
    const auto rate = [&](const typename Wide::Tensor& z, double log_sigma) {
      const double sigma = std::exp(log_sigma);
      const std::vector<double> sigmas(static_cast<std::size_t>(places.count()), sigma);
      const auto noisy = B::narrow(linear<Wide>(spread(sigma), z), denoiser.device());
      return slope<Wide>(z, B::widen(denoiser(noisy, sigmas, places, conditioning)), sigma);
    };
    const typename Wide::Tensor z =
        solver_.integrate<Wide>(rate, linear<Wide>(1 / spread(from), y), std::log(from), std::log(to));
    if (!Wide::read_flag(Wide::finite_flag(std::vector{z}))) {
      refuse<NumericError>("ProbabilityFlow", "images", "finite values on the way", "others");
    }
    return linear<Wide>(spread(to), z);
  }

  ProbabilityFlowOptions options_;
  RK45 solver_;
};

}  // namespace patchdiff
