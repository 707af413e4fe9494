// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/host_kernels.hpp>
#include <patchdiff/backend/torch/adam_kernel.hpp>
#include <patchdiff/backend/torch/elementwise_kernels.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>

/// Kernels of the LibTorch backend on contiguous CPU tensors, where one pass over memory replaces many operators.
namespace patchdiff::torch_cpu {

/// Elements that one task of a parallel loop works through at least.
constexpr std::int64_t grain = 32768;

inline std::int64_t rows_per_task(std::int64_t length) noexcept {
  return 1 + grain / std::max<std::int64_t>(1, length);
}

/// Copies one patch per sample, zeros where it lies outside; images [N, C, H, W], out [N, C, h, w], any scalar type.
inline void crop(const at::Tensor& images, const Places& places, at::Tensor& out) {
  const ImageSize image{images.size(2), images.size(3)};
  const std::int64_t channels = images.size(1), bytes = images.element_size(), pixels = pixel_count(places.patch);
  const auto* source = static_cast<const std::byte*>(images.data_ptr());
  auto* target = static_cast<std::byte*>(out.data_ptr());
  at::parallel_for(0, places.count() * channels, rows_per_task(pixels), [&](std::int64_t plane, std::int64_t end) {
    for (; plane < end; ++plane) {
      host_kernels::crop_plane(source + plane * pixel_count(image) * bytes, image,
                               places.at[static_cast<std::size_t>(plane / channels)], places.patch, bytes,
                               target + plane * pixels * bytes);
    }
  });
}

/// Evaluates each place's map; out [N, 2, h, w], x then y.
template <class Scalar>
void coordinate_grid(const Places& places, ImageSize image, Scalar* out) {
  const std::int64_t length = 2 * pixel_count(places.patch);
  at::parallel_for(0, places.count(), rows_per_task(length), [&](std::int64_t sample, std::int64_t end) {
    for (; sample < end; ++sample) {
      host_kernels::coordinate_planes(places.at[static_cast<std::size_t>(sample)].to_image, places.patch, image,
                                      out + sample * length);
    }
  });
}

/// Whether every value is finite.
inline bool all_finite(const double* values, std::int64_t first, std::int64_t last) noexcept {
  bool finite = true;
  for (std::int64_t index = first; index < last; ++index) finite &= std::isfinite(values[index]);
  return finite;
}

/// The sum of all squares in double, block by block.
template <class Scalar>
double sum_of_squares(const Scalar* values, std::int64_t count) {
  std::vector<double> sums(static_cast<std::size_t>((count + grain - 1) / grain));
  at::parallel_for(0, static_cast<std::int64_t>(sums.size()), 1, [&](std::int64_t block, std::int64_t end) {
    for (; block < end; ++block) {
      std::array<double, 8> running{};
      const std::int64_t last = std::min(count, (block + 1) * grain);
      for (std::int64_t index = block * grain; index < last; ++index) {
        const auto value = static_cast<double>(values[index]);
        running[static_cast<std::size_t>(index % 8)] += value * value;
      }
      sums[static_cast<std::size_t>(block)] = std::accumulate(running.begin(), running.end(), 0.0);
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

/// One step of Adam; `count` is the number of steps that this one completes.
template <class Scalar>
void adam_update(const AdamArrays<Scalar>& arrays, std::int64_t elements, double count, const AdamSettings& settings) {
  const AdamFactors<Scalar> factors(settings, count);
  at::parallel_for(0, elements, grain,
                   [&](std::int64_t begin, std::int64_t end) { adam_step(arrays, factors, begin, end); });
}

}  // namespace patchdiff::torch_cpu
