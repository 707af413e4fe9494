// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/diffusion/noise_level.hpp>

namespace patchdiff {

/// The quantities by which the field describes a denoised image; each is a linear function of it and of the noisy one.
enum class Prediction {
  denoised,  ///< x0, the clean image
  noise,     ///< epsilon = (x / s - x0) / sigma
  velocity,  ///< v = cos(phi) epsilon - sin(phi) x0 with tan(phi) = sigma (Salimans and Ho, arXiv 2202.00512)
  score,     ///< the gradient of log p(x), -epsilon / (s sigma)
};

/// A quantity as of_x x + of_denoised x0.
struct PredictionCoefficients {
  double of_x = 0;
  double of_denoised = 1;
};

/// How the quantity depends on the noisy image x and the denoised one at a level with sigma > 0.
inline PredictionCoefficients prediction_coefficients(Prediction kind, NoiseLevel level) {
  const double s = level.scale, sigma = level.sigma;
  switch (kind) {
    case Prediction::noise: return {1 / (s * sigma), -1 / sigma};
    case Prediction::velocity: return {1 / (s * sigma * std::hypot(1, sigma)), -std::hypot(1, sigma) / sigma};
    case Prediction::score: return {-1 / (s * s * sigma * sigma), 1 / (s * sigma * sigma)};
    case Prediction::denoised: break;
  }
  return {0, 1};
}

/// Turns a prediction of one kind into another kind's, for noisy images x = scale (x0 + sigma n).
///
/// Shapes: x, value and the result [N, ...]; one level with sigma > 0 per sample, as the result at 0 is NaN.
template <Backend B>
typename B::Tensor convert_prediction(const typename B::Tensor& value, Prediction from, Prediction to,
                                      const typename B::Tensor& x, std::span<const NoiseLevel> levels) {
  std::vector<double> of_x, of_value;
  for (const NoiseLevel& level : levels) {
    const PredictionCoefficients given = prediction_coefficients(from, level);
    const PredictionCoefficients wanted = prediction_coefficients(to, level);
    const double ratio = wanted.of_denoised / given.of_denoised;
    of_x.push_back(wanted.of_x - ratio * given.of_x);
    of_value.push_back(ratio);
  }
  return B::combine(of_x, x, of_value, value);
}

}  // namespace patchdiff
