// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include <ATen/core/Tensor.h>

#include <patchdiff/data/normalization.hpp>

/// Samples with values as they are stored, in host memory; a normalisation without channels is none.
inline at::Tensor as_stored(const at::Tensor& samples, const patchdiff::Normalization& normalization) {
  at::Tensor images = samples.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  if (!normalization.mean.empty()) {
    normalization.undo({images.data_ptr<float>(), static_cast<std::size_t>(images.numel())},
                       static_cast<std::size_t>(images.size(2) * images.size(3)));
  }
  return images;
}
