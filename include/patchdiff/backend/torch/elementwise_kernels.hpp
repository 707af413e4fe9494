// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/core/compiled_twice.hpp>

/// Passes over values one by one, each from element `first` to `last`.
namespace patchdiff::torch_cpu {

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

/// Writes (x + y) scale, of floats or of bfloat16.
template <class Value>
void scaled_sum(const Value* x, const Value* y, float scale, Value* sum, std::int64_t first,
                std::int64_t last) noexcept {
  compiled_twice<&scaled_sum_body<Value>>(x, y, scale, sum, first, last);
}

/// into += weight (x - into).
inline void blend(float* into, const float* x, float weight, std::int64_t first, std::int64_t last) noexcept {
  compiled_twice<&blend_body>(into, x, weight, first, last);
}

/// Whether every value is finite.
inline bool all_finite(const float* x, std::int64_t first, std::int64_t last) noexcept {
  return compiled_twice<&all_finite_body>(x, first, last);
}

}  // namespace patchdiff::torch_cpu
