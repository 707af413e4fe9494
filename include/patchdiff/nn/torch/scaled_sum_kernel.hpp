// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/nn/torch/lanes.hpp>

namespace patchdiff::unet_cpu {

template <class Value>
[[gnu::always_inline]] inline void scaled_sum_body(const Value* x, const Value* y, float scale, Value* sum,
                                                   std::int64_t first, std::int64_t last) noexcept {
  const auto add = [&](std::int64_t index, std::int64_t count) __attribute__((always_inline)) {
    Floats a, b;
    load(x + index, count, a);
    load(y + index, count, b);
    store(sum + index, count, (a + b) * scale);
  };
  for (; first + lanes <= last; first += lanes) add(first, lanes);
  if (first < last) add(first, last - first);
}

#if defined(__x86_64__)
template <class Value>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void scaled_sum_avx512(const Value* x, const Value* y,
                                                                                        float scale, Value* sum,
                                                                                        std::int64_t first,
                                                                                        std::int64_t last) noexcept {
  scaled_sum_body(x, y, scale, sum, first, last);
}
#endif

/// Writes (x + y) scale, from element `first` to `last`.
template <class Value>
void scaled_sum(const Value* x, const Value* y, float scale, Value* sum, std::int64_t first,
                std::int64_t last) noexcept {
#if defined(__x86_64__)
  if (has_avx512()) return scaled_sum_avx512(x, y, scale, sum, first, last);
#endif
  scaled_sum_body(x, y, scale, sum, first, last);
}

}  // namespace patchdiff::unet_cpu
