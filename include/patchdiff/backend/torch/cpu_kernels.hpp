// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>

/// Kernels of the LibTorch backend on contiguous CPU tensors, where one pass over memory replaces many operators.
namespace patchdiff::torch_cpu {

/// Elements that one task of a parallel loop works through at least.
constexpr std::int64_t grain = 32768;

/// Copies one patch per sample, zeros where it lies outside; images [N, C, H, W], out [N, C, h, w], any scalar type.
inline void crop(const at::Tensor& images, const Places& places, at::Tensor& out) {
  const std::int64_t channels = images.size(1), height = images.size(2), width = images.size(3);
  const std::int64_t bytes = images.element_size();
  const auto* source = static_cast<const std::byte*>(images.data_ptr());
  auto* target = static_cast<std::byte*>(out.data_ptr());
  const std::int64_t grain_planes = 1 + grain / pixel_count(places.patch);
  const auto in_bytes = [bytes](std::int64_t elements) { return static_cast<std::size_t>(elements * bytes); };
  at::parallel_for(0, places.count() * channels, grain_planes, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) {
      const Place& place = places.at[static_cast<std::size_t>(plane / channels)];
      const std::int64_t first = std::clamp<std::int64_t>(-place.left, 0, places.patch.width);
      const std::int64_t last = std::clamp<std::int64_t>(width - place.left, first, places.patch.width);
      std::byte* to = target + in_bytes(plane * pixel_count(places.patch));
      for (std::int64_t row = 0; row < places.patch.height; ++row, to += in_bytes(places.patch.width)) {
        const std::int64_t from_row = place.top + row;
        if (from_row < 0 || from_row >= height || first == last) {
          std::memset(to, 0, in_bytes(places.patch.width));
          continue;
        }
        const std::byte* from = source + in_bytes((plane * height + from_row) * width + place.left + first);
        std::memset(to, 0, in_bytes(first));
        std::memcpy(to + in_bytes(first), from, in_bytes(last - first));
        std::memset(to + in_bytes(last), 0, in_bytes(places.patch.width - last));
      }
    }
  });
}

/// Evaluates each place's map; out [N, 2, h, w], x then y.
template <class Scalar>
void coordinate_grid(const Places& places, ImageSize image, Scalar* out) {
  const std::int64_t plane = pixel_count(places.patch);
  at::parallel_for(0, places.count(), 1 + grain / plane, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t sample = begin; sample < end; ++sample) {
      const PixelMap& map = places.at[static_cast<std::size_t>(sample)].to_image;
      Scalar* x = out + sample * 2 * plane;
      Scalar* y = x + plane;
      for (std::int64_t row = 0; row < places.patch.height; ++row) {
        for (std::int64_t column = 0; column < places.patch.width; ++column) {
          const auto r = static_cast<double>(row);
          const auto c = static_cast<double>(column);
          *x++ = static_cast<Scalar>(normalised_position(map.column(r, c), image.width));
          *y++ = static_cast<Scalar>(normalised_position(map.row(r, c), image.height));
        }
      }
    }
  });
}

/// Whether every value is finite.
template <class Scalar>
bool all_finite(const Scalar* values, std::int64_t count) noexcept {
  bool finite = true;
  for (std::int64_t index = 0; index < count; ++index) finite &= std::isfinite(values[index]);
  return finite;
}

/// One step of Adam; `count` is the number of steps that this one completes.
template <class Scalar>
void adam_update(Scalar* value, Scalar* mean, Scalar* square, const Scalar* gradient, std::int64_t elements,
                 double count, const AdamSettings& settings) {
  const auto beta1 = static_cast<Scalar>(settings.beta1);
  const auto beta2 = static_cast<Scalar>(settings.beta2);
  const auto rest1 = static_cast<Scalar>(1 - settings.beta1);
  const auto rest2 = static_cast<Scalar>(1 - settings.beta2);
  const auto rate = static_cast<Scalar>(settings.learning_rate / (1 - std::pow(settings.beta1, count)));
  const auto root_scale = static_cast<Scalar>(1 / std::sqrt(1 - std::pow(settings.beta2, count)));
  const auto epsilon = static_cast<Scalar>(settings.epsilon);
  at::parallel_for(0, elements, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const Scalar g = gradient[index];
      mean[index] = beta1 * mean[index] + rest1 * g;
      square[index] = beta2 * square[index] + rest2 * g * g;
      value[index] -= rate * mean[index] / (std::sqrt(square[index]) * root_scale + epsilon);
    }
  });
}

}  // namespace patchdiff::torch_cpu
