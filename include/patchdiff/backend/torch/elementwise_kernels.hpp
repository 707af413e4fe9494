// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>

/// Passes over values one by one, each from element `first` to `last`.
namespace patchdiff::torch_cpu {

/// Calls f(index, count) for whole vectors, then for what is left.
template <class F>
[[gnu::always_inline]] inline void for_lanes(std::int64_t first, std::int64_t last, const F& f) noexcept {
  for (; first + lanes <= last; first += lanes) f(first, lanes);
  if (first < last) f(first, last - first);
}

template <class Value>
[[gnu::always_inline]] inline void scaled_sum_body(const Value* x, const Value* y, float scale, Value* sum,
                                                   std::int64_t first, std::int64_t last) noexcept {
  for_lanes(
      first, last, [&](std::int64_t index, std::int64_t count) __attribute__((always_inline)) {
        Floats a, b;
        load(x + index, count, a);
        load(y + index, count, b);
        store(sum + index, count, (a + b) * scale);
      });
}

[[gnu::always_inline]] inline void blend_body(float* into, const float* x, float weight, std::int64_t first,
                                              std::int64_t last) noexcept {
  for_lanes(
      first, last, [&](std::int64_t index, std::int64_t count) __attribute__((always_inline)) {
        Floats old, now;
        load(into + index, count, old);
        load(x + index, count, now);
        store(into + index, count, old + weight * (now - old));
      });
}

[[gnu::always_inline]] inline bool all_finite_body(const float* x, std::int64_t first, std::int64_t last) noexcept {
  Floats sum{};  // x - x is 0 or NaN
  for_lanes(
      first, last, [&](std::int64_t index, std::int64_t count) __attribute__((always_inline)) {
        Floats value;
        load(x + index, count, value);
        sum += value - value;
      });
  bool finite = true;
  for (std::int64_t lane = 0; lane < lanes; ++lane) finite &= sum[lane] == 0;
  return finite;
}

#if defined(__x86_64__)
template <class Value>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void scaled_sum_avx512(const Value* x, const Value* y,
                                                                                        float scale, Value* sum,
                                                                                        std::int64_t first,
                                                                                        std::int64_t last) noexcept {
  scaled_sum_body(x, y, scale, sum, first, last);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void blend_avx512(float* into, const float* x,
                                                                                   float weight, std::int64_t first,
                                                                                   std::int64_t last) noexcept {
  blend_body(into, x, weight, first, last);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline bool all_finite_avx512(const float* x,
                                                                                        std::int64_t first,
                                                                                        std::int64_t last) noexcept {
  return all_finite_body(x, first, last);
}
#endif

/// Writes (x + y) scale, of floats or of bfloat16.
template <class Value>
void scaled_sum(const Value* x, const Value* y, float scale, Value* sum, std::int64_t first,
                std::int64_t last) noexcept {
#if defined(__x86_64__)
  if (has_avx512()) return scaled_sum_avx512(x, y, scale, sum, first, last);
#endif
  scaled_sum_body(x, y, scale, sum, first, last);
}

/// into += weight (x - into).
inline void blend(float* into, const float* x, float weight, std::int64_t first, std::int64_t last) noexcept {
#if defined(__x86_64__)
  if (has_avx512()) return blend_avx512(into, x, weight, first, last);
#endif
  blend_body(into, x, weight, first, last);
}

/// Whether every value is finite.
inline bool all_finite(const float* x, std::int64_t first, std::int64_t last) noexcept {
#if defined(__x86_64__)
  if (has_avx512()) return all_finite_avx512(x, first, last);
#endif
  return all_finite_body(x, first, last);
}

}  // namespace patchdiff::torch_cpu
