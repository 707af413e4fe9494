// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>

namespace patchdiff::unet {

/// Cosines, then sines, of c_noise at n/2 frequencies (1/10000)^(i / last): [N, n], computed on the host in double.
inline at::Tensor positional_embedding(std::span<const double> c_noise, std::int64_t width, double last,
                                       TorchDevice device) {
  std::vector<double> values;
  for (const double noise : c_noise) {
    for (const bool sine : {false, true}) {
      for (std::int64_t i = 0; i < width / 2; ++i) {
        const double angle = noise * std::pow(1.0 / 10000, static_cast<double>(i) / last);
        values.push_back(sine ? std::sin(angle) : std::cos(angle));
      }
    }
  }
  const auto count = static_cast<std::int64_t>(c_noise.size());
  return TorchBackend::from_host(std::span<const double>(values), {count, width}, device);
}

/// Cosines, then sines, of 2 pi c_noise times each frequency [n/2]: [N, n], computed in the frequencies' scalar type.
inline at::Tensor fourier_embedding(std::span<const double> c_noise, const at::Tensor& frequencies) {
  const auto count = static_cast<std::int64_t>(c_noise.size());
  const at::Tensor noise = TorchBackend::from_host(c_noise, {count, 1}, TorchBackend::device(frequencies));
  const at::Tensor angles = noise * (frequencies * (2 * std::numbers::pi));
  return at::cat({angles.cos(), angles.sin()}, 1);
}

}  // namespace patchdiff::unet
