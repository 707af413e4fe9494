// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <ATen/ops/scaled_dot_product_attention.h>
#endif

// As LibTorch's ATen/autocast_mode.h declares them, which includes the functions of all operators.
namespace at::autocast {
TORCH_API bool is_autocast_cache_enabled();
TORCH_API void set_autocast_cache_enabled(bool enabled);
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
TORCH_API bool is_autocast_enabled(at::DeviceType device);
TORCH_API void set_autocast_enabled(at::DeviceType device, bool enabled);
TORCH_API at::ScalarType get_autocast_dtype(at::DeviceType device);
TORCH_API void set_autocast_dtype(at::DeviceType device, at::ScalarType type);
#else
TORCH_API bool is_enabled();
TORCH_API void set_enabled(bool enabled);
TORCH_API bool is_cpu_enabled();
TORCH_API void set_cpu_enabled(bool enabled);
TORCH_API at::ScalarType get_autocast_gpu_dtype();
TORCH_API void set_autocast_gpu_dtype(at::ScalarType type);
TORCH_API at::ScalarType get_autocast_cpu_dtype();
TORCH_API void set_autocast_cpu_dtype(at::ScalarType type);
#endif
}  // namespace at::autocast

namespace patchdiff::torch_compat {

/// Whether LibTorch has autocast for a device, whether it is on in this thread, and its scalar type: the calls differ
/// between LibTorch versions, and newer ones throw for a device without autocast.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
inline bool autocast_available(at::DeviceType device) {
  const c10::DispatchKey key = at::TensorOptions(device).computeDispatchKey();
  return !c10::getAutocastRelatedKeySetFromBackend(c10::toBackendComponent(key)).empty();
}
inline bool autocast_enabled(at::DeviceType device) { return at::autocast::is_autocast_enabled(device); }
inline void set_autocast_enabled(at::DeviceType device, bool on) { at::autocast::set_autocast_enabled(device, on); }
inline at::ScalarType autocast_type(at::DeviceType device) { return at::autocast::get_autocast_dtype(device); }
inline void set_autocast_type(at::DeviceType device, at::ScalarType type) {
  at::autocast::set_autocast_dtype(device, type);
}
#else
inline bool autocast_available(at::DeviceType device) { return device == at::kCPU || device == at::kCUDA; }
inline bool autocast_enabled(at::DeviceType device) {
  return device == at::kCPU ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled();
}
inline void set_autocast_enabled(at::DeviceType device, bool on) {
  device == at::kCPU ? at::autocast::set_cpu_enabled(on) : at::autocast::set_enabled(on);
}
inline at::ScalarType autocast_type(at::DeviceType device) {
  return device == at::kCPU ? at::autocast::get_autocast_cpu_dtype() : at::autocast::get_autocast_gpu_dtype();
}
inline void set_autocast_type(at::DeviceType device, at::ScalarType type) {
  device == at::kCPU ? at::autocast::set_autocast_cpu_dtype(type) : at::autocast::set_autocast_gpu_dtype(type);
}
#endif

/// Attention by one kernel, of queries, keys and values [N, heads, channels, pixels]; nothing where LibTorch has none,
/// as on the meta device.
#if TORCH_VERSION_MAJOR >= 2
inline std::optional<at::Tensor> fused_attention(const at::Tensor& query, const at::Tensor& key,
                                                 const at::Tensor& value) {
  if (query.is_meta()) return std::nullopt;
  // Channels must lie side by side, or LibTorch silently takes another way.
  const auto rows = [](const at::Tensor& x) { return x.transpose(2, 3).contiguous(); };
  return at::scaled_dot_product_attention(rows(query), rows(key), rows(value)).transpose(2, 3);
}
#else
inline std::optional<at::Tensor> fused_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  return std::nullopt;
}
#endif

}  // namespace patchdiff::torch_compat
