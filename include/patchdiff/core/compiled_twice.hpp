// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/// Kernels on the processor that are compiled for AVX-512, and for AVX2 or whatever the host's file is compiled for
/// too; the processor is asked at run time.
namespace patchdiff {

/// Whether the processor has AVX-512 (F, BW, VL and DQ).
inline bool has_avx512() noexcept {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

/// Whether the processor has AVX2 and FMA.
inline bool has_avx2() noexcept {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

/// Whether the processor multiplies bfloat16 by matrix units (AMX).
inline bool has_amx_bfloat16() noexcept {
#if defined(__x86_64__)
  static const bool has = [] {  // asked once: where the machine is virtual, its host answers
    unsigned int a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1U) != 0;
  }();
  return has;
#else
  return false;
#endif
}

#if defined(__x86_64__)
/// Calls a function that is always inlined, compiled for AVX-512 alone: for where `has_avx512()`.
template <auto Kernel, class... Arguments>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] auto with_avx512(Arguments&&... arguments) noexcept {
  return Kernel(std::forward<Arguments>(arguments)...);
}

/// The same for AVX2 and FMA: for where `has_avx2()`.
template <auto Kernel, class... Arguments>
[[gnu::target("avx2,fma")]] auto with_avx2(Arguments&&... arguments) noexcept {
  return Kernel(std::forward<Arguments>(arguments)...);
}
#else
/// Never called, as `has_avx512()` is false.
template <auto Kernel, class... Arguments>
auto with_avx512(Arguments&&... arguments) noexcept {
  return Kernel(std::forward<Arguments>(arguments)...);
}

/// Never called, as `has_avx2()` is false.
template <auto Kernel, class... Arguments>
auto with_avx2(Arguments&&... arguments) noexcept {
  return Kernel(std::forward<Arguments>(arguments)...);
}
#endif

/// Calls a function that is always inlined: `compiled_twice<&kernel>(arguments...)`.
///
/// Vectors go by reference, since the two compilations have other calling conventions.
template <auto Kernel, class... Arguments>
auto compiled_twice(Arguments&&... arguments) noexcept {
  if (has_avx512()) return with_avx512<Kernel>(std::forward<Arguments>(arguments)...);
  return Kernel(std::forward<Arguments>(arguments)...);
}

}  // namespace patchdiff
