// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/noise_level.hpp>
#include <patchdiff/diffusion/prediction.hpp>
#include <patchdiff/sampling/euler_maruyama.hpp>
#include <patchdiff/sampling/solver_step.hpp>

namespace patchdiff {

/// Langevin steps at each noise level.
struct LangevinOptions {
  double signal_to_noise = 0.16;     ///< r of the corrector's step size, > 0; SDE's names for it are r and snr
  std::int64_t num_corrections = 1;  ///< steps of the corrector after each step of the predictor, at least 1
};

/// A predictor, then steps of Langevin dynamics at the level it reached: x + e score + sqrt(2 e) z.
///
/// The step size is e = 2 a (r |z| / |score|)^2 with a = (s(t) / s(t'))^2, 1 for processes without scaling. Each sample
/// has its own norms, where the source averages them over the batch, so that a sample does not depend on those beside
/// it; a window's norms are not the whole image's. Reads two numbers a sample from the device in each correction.
/// Source: SDE (arXiv 2011.13456), Algorithms 4 and 5.
template <class Predictor = EulerMaruyama>
class PredictorCorrector {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit PredictorCorrector(LangevinOptions options = {}, Predictor predictor = Predictor{})
      : options_(options), predictor_(std::move(predictor)) {
    require<ConfigError>(options.signal_to_noise > 0 && std::isfinite(options.signal_to_noise), "PredictorCorrector",
                         "signal_to_noise", "a finite value > 0", options.signal_to_noise);
    require<ConfigError>(options.num_corrections >= 1, "PredictorCorrector", "num_corrections", "at least 1",
                         options.num_corrections);
  }

  template <Backend B>
  typename B::Tensor step(SolverStep<B>& step, const typename B::Tensor& x) const {
    typename B::Tensor moved = predictor_.step(step, x);
    if (step.ends_at_data()) return moved;
    for (std::int64_t k = 0; k < options_.num_corrections; ++k) moved = corrected<B>(step, moved);
    return moved;
  }

 private:
  template <Backend B>
  typename B::Tensor corrected(SolverStep<B>& step, const typename B::Tensor& x) const {
    using Tensor = typename B::Tensor;
    const NoiseLevel level = step.next_level();
    const PredictionCoefficients c = prediction_coefficients(Prediction::score, level);
    const Tensor score = linear<B>(c.of_denoised, step.denoise(x, step.next_time()), c.of_x, x);
    const Tensor noise = step.noise();
    const double shrinking = step.level().scale / level.scale;
    const double factor = 2 * shrinking * shrinking * options_.signal_to_noise * options_.signal_to_noise;
    const std::vector<double> of_noise = B::to_host(B::sum_per_sample(B::multiply(noise, noise)));
    const std::vector<double> of_score = B::to_host(B::sum_per_sample(B::multiply(score, score)));
    std::vector<double> size, spread;
    for (std::size_t n = 0; n < of_noise.size(); ++n) {
      size.push_back(factor * of_noise[n] / of_score[n]);
      spread.push_back(std::sqrt(2 * size.back()));
    }
    const std::vector<double> ones(size.size(), 1.0);
    return B::combine(ones, B::combine(ones, x, size, score), spread, noise);
  }

  LangevinOptions options_;
  Predictor predictor_;
};

}  // namespace patchdiff
