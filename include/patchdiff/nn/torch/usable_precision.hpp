// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <ATen/core/Tensor.h>

#include <patchdiff/backend/torch/compat.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Whether the processor multiplies in bfloat16: AVX512-BF16, which processors with AMX-BF16 have too. Others than x86
/// count as without.
inline bool processor_has_bfloat16() noexcept {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

/// The precision that a network on the device should run in: the one asked for where it gains, else float32, which the
/// log then says.
///
/// bfloat16 on a processor without instructions for it would be right, and slower than float32; float16 needs CUDA.
inline Precision usable_precision(Precision requested, const TorchDevice& device, const Log& log = {},
                                  bool has_bfloat16 = processor_has_bfloat16()) {
  if (requested == Precision::float32) return requested;
  const auto instead = [&](std::string_view got) {
    if (log) {
      log(str("usable_precision: precision: expected what the device has, got ", name_of(requested), ' ', got,
              "; float32 is used"));
    }
    return Precision::float32;
  };
  if (device.scalar != at::kFloat) return instead("beside weights that are not float32");
  if (!torch_compat::autocast_available(device.device.type())) return instead("on a device without autocast");
  if (!device.device.is_cpu()) return requested;
  if (requested == Precision::float16) return instead("on the processor");
  return has_bfloat16 ? requested : instead("on a processor without AVX512-BF16 and AMX-BF16");
}

}  // namespace patchdiff
