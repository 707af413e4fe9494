// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/core/compiled_twice.hpp>

/// Weights of convolutions between float and bfloat16, and between the orders of their values; for processors with
/// AVX-512.
namespace patchdiff::torch_cpu {

template <class From, class To>
[[gnu::always_inline]] inline void convert_row(const From* from, To* to, std::int64_t count) noexcept {
  for_lanes(
      0, count, [&](std::int64_t index, std::int64_t values) __attribute__((always_inline)) {
        Floats value;
        load(from + index, values, value);
        store(to + index, values, value);
      });
}

[[gnu::always_inline]] inline void cast_weights_body(const float* from, Bits16* to, std::int64_t first,
                                                     std::int64_t last, std::int64_t in, std::int64_t taps,
                                                     Bits16* row) noexcept {
  for (std::int64_t out = first; out < last; ++out) {
    Bits16* rows = to + out * in * taps;
    convert_row(from + out * in * taps, taps == 1 ? rows : row, in * taps);
    if (taps == 1) continue;
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      for (std::int64_t i = 0; i < in; ++i) rows[tap * in + i] = row[i * taps + tap];
    }
  }
}

[[gnu::always_inline]] inline void widen_weights_body(const Bits16* from, float* to, std::int64_t first,
                                                      std::int64_t last, std::int64_t in, std::int64_t taps,
                                                      Bits16* row) noexcept {
  for (std::int64_t out = first; out < last; ++out) {
    const Bits16* rows = from + out * in * taps;
    for (std::int64_t tap = 0; taps > 1 && tap < taps; ++tap) {
      for (std::int64_t i = 0; i < in; ++i) row[i * taps + tap] = rows[tap * in + i];
    }
    convert_row(taps == 1 ? rows : row, to + out * in * taps, in * taps);
  }
}

/// bfloat16 [out, taps, in] of float [out, in, taps], from output channel `first` to `last`.
inline void cast_weights(const float* from, Bits16* to, std::int64_t first, std::int64_t last, std::int64_t in,
                         std::int64_t taps) {
  std::vector<Bits16> row(static_cast<std::size_t>(in * taps));
  with_avx512<&cast_weights_body>(from, to, first, last, in, taps, row.data());
}

/// The way back: float [out, in, taps] of bfloat16 [out, taps, in].
inline void widen_weights(const Bits16* from, float* to, std::int64_t first, std::int64_t last, std::int64_t in,
                          std::int64_t taps) {
  std::vector<Bits16> row(static_cast<std::size_t>(in * taps));
  with_avx512<&widen_weights_body>(from, to, first, last, in, taps, row.data());
}

}  // namespace patchdiff::torch_cpu
