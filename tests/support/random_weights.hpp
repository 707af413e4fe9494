// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <patchdiff/backend/torch/torch_backend.hpp>

#include "support/tensors.hpp"

namespace patchdiff {

/// Moves every weight away from its start, where some layers give almost nothing.
template <class Net>
Net with_random_weights(Net net) {
  std::uint64_t seed = 0;
  const at::NoGradGuard no_grad;
  net.visit_parameters([&](auto, at::Tensor& value, at::Tensor&) {
    value.add_(random_tensor<TorchBackend>(TorchBackend::shape(value), seed++, net.device()), 0.2);
  });
  return net;
}

}  // namespace patchdiff
