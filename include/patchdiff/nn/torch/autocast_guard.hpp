// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/autocast_mode.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/core/precision.hpp>

namespace patchdiff {

/// Turns LibTorch's autocast on for one scope and thread, and puts everything back as it was.
///
/// Without its cache: a bfloat16 copy of a weight that was made without gradients would serve training too, and the
/// weight would get no gradient. A network uses each weight once a call, so the cache would save nothing.
class AutocastGuard {
 public:
  AutocastGuard(at::DeviceType device, Precision precision)
      : device_(device),
        enabled_(torch_compat::autocast_enabled(device)),
        cached_(at::autocast::is_autocast_cache_enabled()),
        type_(torch_compat::autocast_type(device)) {
    at::autocast::set_autocast_cache_enabled(false);
    torch_compat::set_autocast_enabled(device, precision == Precision::bfloat16);
    torch_compat::set_autocast_type(device, at::kBFloat16);
  }

  ~AutocastGuard() {
    torch_compat::set_autocast_type(device_, type_);
    torch_compat::set_autocast_enabled(device_, enabled_);
    at::autocast::set_autocast_cache_enabled(cached_);
  }

  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  at::DeviceType device_;
  bool enabled_;
  bool cached_;
  at::ScalarType type_;
};

}  // namespace patchdiff
