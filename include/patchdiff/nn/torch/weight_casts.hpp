// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/backend/torch/lanes.hpp>

/// Weights of convolutions between float and bfloat16, and between the orders of their values.
namespace patchdiff::torch_cpu {

/// bfloat16 [out, taps, in] of float [out, in, taps], from output channel `first` to `last`.
[[gnu::always_inline]] inline void cast_weights_body(const float* from, Bits16* to, std::int64_t first,
                                                     std::int64_t last, std::int64_t in, std::int64_t taps,
                                                     Bits16* row) noexcept {
  for (std::int64_t out = first; out < last; ++out) {
    const float* values = from + out * in * taps;
    Bits16* rows = to + out * in * taps;
    Bits16* cast = taps == 1 ? rows : row;
    std::int64_t index = 0;
    for (; index + lanes <= in * taps; index += lanes) {
      Floats value;
      load(values + index, lanes, value);
      store(cast + index, lanes, value);
    }
    if (const std::int64_t left = in * taps - index; left > 0) {
      Floats value;
      load(values + index, left, value);
      store(cast + index, left, value);
    }
    if (taps == 1) continue;
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      for (std::int64_t i = 0; i < in; ++i) rows[tap * in + i] = row[i * taps + tap];
    }
  }
}

/// The way back: float [out, in, taps] of bfloat16 [out, taps, in].
[[gnu::always_inline]] inline void widen_weights_body(const Bits16* from, float* to, std::int64_t first,
                                                      std::int64_t last, std::int64_t in, std::int64_t taps,
                                                      Bits16* row) noexcept {
  for (std::int64_t out = first; out < last; ++out) {
    const Bits16* rows = from + out * in * taps;
    float* values = to + out * in * taps;
    for (std::int64_t tap = 0; taps > 1 && tap < taps; ++tap) {
      for (std::int64_t i = 0; i < in; ++i) row[i * taps + tap] = rows[tap * in + i];
    }
    const Bits16* ordered = taps == 1 ? rows : row;
    std::int64_t index = 0;
    for (; index + lanes <= in * taps; index += lanes) {
      Floats value;
      load(ordered + index, lanes, value);
      store(values + index, lanes, value);
    }
    if (const std::int64_t left = in * taps - index; left > 0) {
      Floats value;
      load(ordered + index, left, value);
      store(values + index, left, value);
    }
  }
}

#if defined(__x86_64__)
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void cast_weights_avx512(
    const float* from, Bits16* to, std::int64_t first, std::int64_t last, std::int64_t in, std::int64_t taps,
    Bits16* row) noexcept {
  cast_weights_body(from, to, first, last, in, taps, row);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void widen_weights_avx512(
    const Bits16* from, float* to, std::int64_t first, std::int64_t last, std::int64_t in, std::int64_t taps,
    Bits16* row) noexcept {
  widen_weights_body(from, to, first, last, in, taps, row);
}
#endif

inline void cast_weights(const float* from, Bits16* to, std::int64_t first, std::int64_t last, std::int64_t in,
                         std::int64_t taps) {
  std::vector<Bits16> row(static_cast<std::size_t>(in * taps));
#if defined(__x86_64__)
  if (has_avx512()) return cast_weights_avx512(from, to, first, last, in, taps, row.data());
#endif
  cast_weights_body(from, to, first, last, in, taps, row.data());
}

inline void widen_weights(const Bits16* from, float* to, std::int64_t first, std::int64_t last, std::int64_t in,
                          std::int64_t taps) {
  std::vector<Bits16> row(static_cast<std::size_t>(in * taps));
#if defined(__x86_64__)
  if (has_avx512()) return widen_weights_avx512(from, to, first, last, in, taps, row.data());
#endif
  widen_weights_body(from, to, first, last, in, taps, row.data());
}

}  // namespace patchdiff::torch_cpu
