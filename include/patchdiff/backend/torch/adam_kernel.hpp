// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/core/compiled_twice.hpp>

namespace patchdiff::torch_cpu {

/// What a step of Adam multiplies by; `count` is the number of steps that this one completes.
template <class Scalar>
struct AdamFactors {
  Scalar beta1, beta2, rest1, rest2, rate, root_scale, epsilon;

  AdamFactors(const AdamSettings& settings, double count)
      : beta1(static_cast<Scalar>(settings.beta1)),
        beta2(static_cast<Scalar>(settings.beta2)),
        rest1(static_cast<Scalar>(1 - settings.beta1)),
        rest2(static_cast<Scalar>(1 - settings.beta2)),
        rate(static_cast<Scalar>(settings.learning_rate / (1 - std::pow(settings.beta1, count)))),
        root_scale(static_cast<Scalar>(1 / std::sqrt(1 - std::pow(settings.beta2, count)))),
        epsilon(static_cast<Scalar>(settings.epsilon)) {}
};

/// The arrays of one parameter.
template <class Scalar>
struct AdamArrays {
  Scalar* value;
  Scalar* mean;
  Scalar* square;
  const Scalar* gradient;
};

inline void adam_step(const AdamArrays<double>& all, const AdamFactors<double>& by, std::int64_t first,
                      std::int64_t last) noexcept {
  for (std::int64_t index = first; index < last; ++index) {
    const double g = all.gradient[index];
    all.mean[index] = by.beta1 * all.mean[index] + by.rest1 * g;
    all.square[index] = by.beta2 * all.square[index] + by.rest2 * g * g;
    all.value[index] -= by.rate * all.mean[index] / (std::sqrt(all.square[index]) * by.root_scale + by.epsilon);
  }
}

[[gnu::always_inline]] inline void adam_step_body(const AdamArrays<float>& all, const AdamFactors<float>& by,
                                                  std::int64_t first, std::int64_t last) noexcept {
  for_lanes(
      first, last, [&](std::int64_t index, std::int64_t count) __attribute__((always_inline)) {
        Floats value, mean, square, gradient, deviation;
        load(all.value + index, count, value);
        load(all.mean + index, count, mean);
        load(all.square + index, count, square);
        load(all.gradient + index, count, gradient);
        mean = by.beta1 * mean + by.rest1 * gradient;
        square = by.beta2 * square + by.rest2 * gradient * gradient;
        root(square, deviation);
        value -= by.rate * mean / (deviation * by.root_scale + by.epsilon);
        store(all.value + index, count, value);
        store(all.mean + index, count, mean);
        store(all.square + index, count, square);
      });
}

/// One step for the elements from `first` to `last`.
inline void adam_step(const AdamArrays<float>& all, const AdamFactors<float>& by, std::int64_t first,
                      std::int64_t last) noexcept {
  compiled_twice<&adam_step_body>(all, by, first, last);
}

}  // namespace patchdiff::torch_cpu
