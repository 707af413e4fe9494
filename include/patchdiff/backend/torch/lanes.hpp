// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <patchdiff/core/compiled_twice.hpp>

/// Vectors of floats for kernels over activations on the processor, in float or bfloat16.
///
/// Kernels are compiled twice over vectors of 16 (`compiled_twice`), of which the compiler makes what the processor
/// has, or over vectors that the processor has itself (`with_vectors`): of 16 floats with AVX-512, of 8 with AVX2.
/// Everything is computed in float and rounded once.
namespace patchdiff::torch_cpu {

/// The bits of a bfloat16.
using Bits16 = std::uint16_t;

constexpr std::int64_t lanes = 16;
using Floats = float __attribute__((vector_size(64)));
using Words = std::uint32_t __attribute__((vector_size(64)));
using Floats8 = float __attribute__((vector_size(32)));
using Words8 = std::uint32_t __attribute__((vector_size(32)));
using Halves = Bits16 __attribute__((vector_size(32)));

/// The floats of a vector.
template <class V>
constexpr std::int64_t lanes_of = sizeof(V) / sizeof(float);

/// Calls a function that is always inlined, compiled for processors that have vectors V.
template <class V, auto Kernel, class... Arguments>
auto with_vectors(Arguments&&... arguments) noexcept {
  if constexpr (lanes_of<V> == 16)
    return with_avx512<Kernel>(std::forward<Arguments>(arguments)...);
  else
    return with_avx2<Kernel>(std::forward<Arguments>(arguments)...);
}

[[gnu::always_inline]] inline void load(const Bits16* from, Floats& to) noexcept {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&to, &words, sizeof to);
}

/// Rounds to nearest, ties to even; NaN stays NaN.
[[gnu::always_inline]] inline void store(Bits16* to, const Floats& from) noexcept {
  Words words;
  std::memcpy(&words, &from, sizeof words);
  const Words rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16;
  const Words not_a_number = Words{} + 0x7fc0;
  const Halves halves = __builtin_convertvector(from == from ? rounded : not_a_number, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

template <class V>
[[gnu::always_inline]] inline void load(const float* from, V& to) noexcept {
  std::memcpy(&to, from, sizeof to);
}
template <class V>
[[gnu::always_inline]] inline void store(float* to, const V& from) noexcept {
  std::memcpy(to, &from, sizeof from);
}

/// Reads up to a vector's values; those beyond `count` are zero.
template <class Value, class V>
[[gnu::always_inline]] inline void load(const Value* from, std::int64_t count, V& to) noexcept {
  if (count >= lanes_of<V>) return load(from, to);
  Value values[lanes_of<V>]{};
  std::memcpy(values, from, static_cast<std::size_t>(count) * sizeof(Value));
  load(values, to);
}

/// Writes up to a vector's values.
template <class Value, class V>
[[gnu::always_inline]] inline void store(Value* to, std::int64_t count, const V& from) noexcept {
  if (count >= lanes_of<V>) return store(to, from);
  Value values[lanes_of<V>];
  store(values, from);
  std::memcpy(to, values, static_cast<std::size_t>(count) * sizeof(Value));
}

/// The root of each number, by the processor's instruction: std::sqrt sets errno, which keeps compilers from vectors.
[[gnu::always_inline]] inline void root(const Floats& x, Floats& result) noexcept {
  float values[lanes];
  std::memcpy(values, &x, sizeof values);
  for (std::int64_t lane = 0; lane < lanes; lane += 4) {
#if defined(__x86_64__)
    _mm_storeu_ps(values + lane, _mm_sqrt_ps(_mm_loadu_ps(values + lane)));
#else
    for (std::int64_t i = lane; i < lane + 4; ++i) values[i] = std::sqrt(values[i]);
#endif
  }
  std::memcpy(&result, values, sizeof values);
}

/// 1 / (1 + exp(-x)), to about 1e-6 of itself.
template <class V>
[[gnu::always_inline]] inline void sigmoid(const V& x, V& result) noexcept {
  V y = -x;
  y = y < -87.0F ? V{} - 87.0F : y;
  y = y > 87.0F ? V{} + 87.0F : y;
  // exp(y) = 2^n exp(r): adding 1.5 2^23 rounds to the nearest integer n, and leaves its bits below.
  constexpr float rounder = 12582912.0F;
  const V shifted = y * 1.44269504F + rounder;
  const V n = shifted - rounder;
  const V r = (y - n * 0.693359375F) + n * 2.12194440e-4F;
  V p = r * (1.0F / 720) + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  std::conditional_t<lanes_of<V> == 16, Words, Words8> power;
  std::memcpy(&power, &shifted, sizeof power);
  power = (power + 127) << 23;
  V scale;
  std::memcpy(&scale, &power, sizeof scale);
  result = 1.0F / (1.0F + p * scale);
}

/// Calls f(index, count) for whole vectors, then for what is left.
template <class F>
[[gnu::always_inline]] inline void for_lanes(std::int64_t first, std::int64_t last, const F& f) noexcept {
  for (; first + lanes <= last; first += lanes) f(first, lanes);
  if (first < last) f(first, last - first);
}

}  // namespace patchdiff::torch_cpu
