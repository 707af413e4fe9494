// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/autocast_mode.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/core/precision.hpp>

namespace patchdiff {

/// Turns LibTorch's autocast on for one scope and thread, and puts everything back as it was.
class AutocastGuard {
 public:
  AutocastGuard(at::DeviceType device, Precision precision)
      : device_(device), enabled_(torch_compat::autocast_enabled(device)), type_(torch_compat::autocast_type(device)) {
    at::autocast::increment_nesting();
    torch_compat::set_autocast_enabled(device, precision == Precision::bfloat16);
    torch_compat::set_autocast_type(device, at::kBFloat16);
  }

  ~AutocastGuard() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    torch_compat::set_autocast_type(device_, type_);
    torch_compat::set_autocast_enabled(device_, enabled_);
  }

  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  at::DeviceType device_;
  bool enabled_;
  at::ScalarType type_;
};

}  // namespace patchdiff
