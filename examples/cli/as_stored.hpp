// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/data/normalization.hpp>

/// The values of samples [N, C, H, W] as they are stored, in host memory; a normalisation without channels is none.
template <patchdiff::Backend B>
std::vector<float> as_stored(const typename B::Tensor& samples, const patchdiff::Normalization& normalization) {
  const std::vector<double> values = B::to_host(samples);
  std::vector<float> stored(values.begin(), values.end());
  if (!normalization.mean.empty()) {
    const patchdiff::Shape shape = B::shape(samples);
    normalization.undo(stored, static_cast<std::size_t>(shape[2] * shape[3]));
  }
  return stored;
}
