// SPDX-License-Identifier: Apache-2.0
// Whether LibTorch is found, linked and loaded: the smallest of the headers that need it, as each costs seconds.
#include <cstdio>

#include <ATen/ops/ones.h>

#include <patchdiff/backend/torch/compat.hpp>

int main() {
  std::printf("LibTorch %s\n", TORCH_VERSION);
  const bool autocast = patchdiff::torch_compat::autocast_enabled(at::kCPU);
  return !autocast && at::ones({2, 3}).numel() == 6 ? 0 : 1;
}
