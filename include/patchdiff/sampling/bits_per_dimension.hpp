// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

/// The distance of neighbouring values of 8-bit images that are scaled to [-1, 1] by v / 127.5 - 1.
inline constexpr double byte_step = 1 / 127.5;

/// The code length of quantised images, in bits per value, from the log density of their dequantised ones.
///
/// -nats / (values ln 2) - log2(step): with the step of 8-bit images in [-1, 1], log2(127.5) = 6.9944 bits are added,
/// where others, who scale by 128, add 7. Source: Theis et al., A note on the evaluation of generative models (arXiv
/// 1511.01844), section 3.1.
inline double bits_per_dimension(double nats, std::int64_t values, double step = byte_step) {
  return -nats / (static_cast<double>(values) * std::numbers::ln2) - std::log2(step);
}

/// Images of discrete values spread evenly over their steps: images + step (u - 1/2) with u uniform in (0, 1).
///
/// Shapes: [N, ...]. Draws: `Purpose::dequantisation`, one number per value; sample first_sample + n.
template <Backend B>
typename B::Tensor dequantised(const typename B::Tensor& images, RandomKey key, std::uint64_t first_sample = 0,
                               double step = byte_step) {
  const Shape shape = B::shape(images);
  std::vector<double> shifts;
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    const RandomStream stream(key, Purpose::dequantisation, 0, first_sample + static_cast<std::uint64_t>(n));
    for (std::int64_t value = 0; value < element_count(shape) / shape[0]; ++value) {
      shifts.push_back(stream.uniform(static_cast<std::uint64_t>(value)) - 0.5);
    }
  }
  return linear<B>(1, images, step, B::from_host(std::span<const double>(shifts), shape, B::device(images)));
}

}  // namespace patchdiff
