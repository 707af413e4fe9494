// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Turns LibTorch's autocast on for one scope and thread, and puts everything back as it was.
///
/// Without its cache: a bfloat16 copy of a weight that was made without gradients would serve training too, and the
/// weight would get no gradient. A network uses each weight once a call, so the cache would save nothing.
///
/// A device without autocast (`meta`) is left alone.
///
/// Errors: ConfigError for another precision than float32 on such a device, and for float16 on the processor, where
/// LibTorch's versions differ in what they have of it.
class AutocastGuard {
 public:
  AutocastGuard(at::DeviceType device, Precision precision)
      : device_(device), available_(torch_compat::autocast_available(device)) {
    if (!available_) {
      if (precision == Precision::float32) return;
      refuse<ConfigError>("AutocastGuard", "precision", "float32 on a device without autocast",
                          str(name_of(precision), " on ", c10::DeviceTypeName(device, true)));
    }
    if (device == at::kCPU && precision == Precision::float16) {
      refuse<ConfigError>("AutocastGuard", "precision", "float32 or bfloat16 on the processor", "float16");
    }
    enabled_ = torch_compat::autocast_enabled(device);
    cached_ = at::autocast::is_autocast_cache_enabled();
    type_ = torch_compat::autocast_type(device);
    at::autocast::set_autocast_cache_enabled(false);
    torch_compat::set_autocast_enabled(device, precision != Precision::float32);
    torch_compat::set_autocast_type(device, precision == Precision::float16 ? at::kHalf : at::kBFloat16);
  }

  ~AutocastGuard() {
    if (!available_) return;
    torch_compat::set_autocast_type(device_, type_);
    torch_compat::set_autocast_enabled(device_, enabled_);
    at::autocast::set_autocast_cache_enabled(cached_);
  }

  AutocastGuard(const AutocastGuard&) = delete;
  AutocastGuard& operator=(const AutocastGuard&) = delete;

 private:
  at::DeviceType device_;
  bool available_;
  bool enabled_ = false;
  bool cached_ = false;
  at::ScalarType type_ = at::kBFloat16;
};

}  // namespace patchdiff
