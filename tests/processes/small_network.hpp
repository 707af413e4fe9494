// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <patchdiff/nn/eigen/small_unet.hpp>

namespace patchdiff {

/// The network of SmallTraining without LibTorch.
template <class Scalar>
SmallUNet<Scalar> small_network() {
  return SmallUNet<Scalar>({.in_channels = 1 + 2, .out_channels = 1, .label_dim = 3, .model_channels = 8}, {3}, {});
}

}  // namespace patchdiff
