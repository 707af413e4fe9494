// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <patchdiff/core/compiled_twice.hpp>
#include <patchdiff/core/philox.hpp>

/// Unit normal numbers from Philox by Box-Muller in double, eight blocks of four at a time.
///
/// Plain arithmetic on vectors of 8 numbers, which the compiler makes of what the processor has. Both compilations
/// (`compiled_twice`) agree with the functions of the mathematical library, and with each other, to a few units in the
/// last place of double.
namespace patchdiff::normal_kernel {

constexpr std::size_t lanes = 8;
constexpr std::size_t group = 4 * lanes;  ///< numbers of eight blocks
using Doubles = double __attribute__((vector_size(64)));
using Floats = float __attribute__((vector_size(32)));
using Words = std::uint64_t __attribute__((vector_size(64)));

/// What a stream is told apart by: a block's counter is these words, but for the index.
struct Counter {
  std::uint64_t key;
  std::uint64_t sample;
  std::uint64_t step;
  std::uint64_t high;  ///< the last word, without the index's bits
};

[[gnu::always_inline]] inline void to_words(const Doubles& from, Words& to) noexcept {
  std::memcpy(&to, &from, sizeof to);
}
[[gnu::always_inline]] inline void to_doubles(const Words& from, Doubles& to) noexcept {
  std::memcpy(&to, &from, sizeof to);
}

/// An integer below 2^52 as a number: its bits lie at the end of those of 2^52.
[[gnu::always_inline]] inline void convert(const Words& from, Doubles& to) noexcept {
  to_doubles(from | 0x4330000000000000U, to);
  to -= 0x1p52;
}

/// -2 ln of (word + 1/2) 2^-32.
///
/// By 2 artanh s for s = (m - 1) / (m + 1), where m in [sqrt(1/2), sqrt(2)) is the mantissa: |s| <= 0.172.
[[gnu::always_inline]] inline void minus_two_log(const Words& word, Doubles& result) noexcept {
  Doubles uniform;
  convert(word, uniform);
  uniform = (uniform + 0.5) * 0x1p-32;
  Words bits;
  to_words(uniform, bits);
  constexpr std::uint64_t root_half = 0x3FE6A09E667F3BCD;
  const Words above = bits - root_half + (std::uint64_t{1024} << 52);
  Doubles exponent, mantissa;
  convert(above >> 52, exponent);
  exponent -= 1024.0;
  to_doubles((above & 0x000FFFFFFFFFFFFFU) + root_half, mantissa);
  const Doubles s = (mantissa - 1.0) / (mantissa + 1.0), z = s * s;
  Doubles series = z * (1.0 / 21) + 1.0 / 19;
  series = series * z + 1.0 / 17;
  series = series * z + 1.0 / 15;
  series = series * z + 1.0 / 13;
  series = series * z + 1.0 / 11;
  series = series * z + 1.0 / 9;
  series = series * z + 1.0 / 7;
  series = series * z + 1.0 / 5;
  series = series * z + 1.0 / 3;
  // ln 2 in two parts, whose first one times an exponent is exact.
  result =
      -2.0 * (exponent * 0x1.62e42fee00000p-1 + (exponent * 0x1.a39ef35793c76p-33 + (2.0 * s + 2.0 * s * z * series)));
}

/// The root of a number > 0: Newton's iteration for its inverse, from a guess by halving the exponent.
[[gnu::always_inline]] inline void root(const Doubles& x, Doubles& result) noexcept {
  Words bits;
  to_words(x, bits);
  Doubles inverse;
  to_doubles(0x5FE6EB50C7B537A9U - (bits >> 1), inverse);
  for (int iteration = 0; iteration < 3; ++iteration) inverse = inverse * (1.5 - 0.5 * x * inverse * inverse);
  result = x * inverse;
  result += 0.5 * inverse * (x - result * result);
}

/// Cosine and sine of 2 pi word 2^-32: of the distance to the nearest quarter turn, swapped and signed by the quarter.
[[gnu::always_inline]] inline void cosine_and_sine(const Words& word, Doubles& cosine, Doubles& sine) noexcept {
  constexpr std::uint64_t eighth = std::uint64_t{1} << 29;
  const Words moved = word + eighth, quarter = moved >> 30;
  Doubles x;
  convert(moved & (2 * eighth - 1), x);
  x = (x - static_cast<double>(eighth)) * 0x1.921fb54442d18p-30;  // 2 pi 2^-32
  const Doubles z = x * x;
  Doubles s = z * (-1.0 / 1307674368000) + 1.0 / 6227020800;
  s = s * z - 1.0 / 39916800;
  s = s * z + 1.0 / 362880;
  s = s * z - 1.0 / 5040;
  s = s * z + 1.0 / 120;
  s = s * z - 1.0 / 6;
  s = x + x * z * s;
  Doubles c = z * (1.0 / 20922789888000) - 1.0 / 87178291200;
  c = c * z + 1.0 / 479001600;
  c = c * z - 1.0 / 3628800;
  c = c * z + 1.0 / 40320;
  c = c * z - 1.0 / 720;
  c = c * z + 1.0 / 24;
  c = c * z - 0.5;
  c = 1.0 + z * c;
  Words of_s, of_c;
  to_words(s, of_s);
  to_words(c, of_c);
  const Words swap = (of_s ^ of_c) & (Words{} - (quarter & 1));
  to_doubles((of_c ^ swap) ^ ((quarter + 1) & 2) << 62, cosine);
  to_doubles((of_s ^ swap) ^ (quarter & 2) << 62, sine);
}

[[gnu::always_inline]] inline void store(const Doubles& numbers, double* out) noexcept {
  std::memcpy(out, &numbers, sizeof numbers);
}
[[gnu::always_inline]] inline void store(const Doubles& numbers, float* out) noexcept {
  const auto rounded = __builtin_convertvector(numbers, Floats);
  std::memcpy(out, &rounded, sizeof rounded);
}

/// Writes four numbers of each lane, lane by lane.
template <class Scalar>
[[gnu::always_inline]] inline void store_by_lanes(const std::array<Doubles, 4>& numbers, Scalar* out) noexcept {
  Doubles lower[2], upper[2];  // pairs of the lower four lanes, and of the upper four
  for (std::size_t pair = 0; pair < 2; ++pair) {
    const Doubles &even = numbers[2 * pair], &odd = numbers[2 * pair + 1];
    lower[pair] = __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
    upper[pair] = __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  store(__builtin_shufflevector(lower[0], lower[1], 0, 1, 8, 9, 2, 3, 10, 11), out);
  store(__builtin_shufflevector(lower[0], lower[1], 4, 5, 12, 13, 6, 7, 14, 15), out + lanes);
  store(__builtin_shufflevector(upper[0], upper[1], 0, 1, 8, 9, 2, 3, 10, 11), out + 2 * lanes);
  store(__builtin_shufflevector(upper[0], upper[1], 4, 5, 12, 13, 6, 7, 14, 15), out + 3 * lanes);
}

template <class Scalar>
[[gnu::always_inline]] inline void normals_body(const Counter& counter, std::uint64_t block, std::size_t groups,
                                                Scalar* out) noexcept {
  for (; groups > 0; --groups, block += lanes, out += group) {
    const Words index = block + Words{0, 1, 2, 3, 4, 5, 6, 7};
    std::array<Words, 4> words{index & 0xFFFFFFFFU, Words{} + counter.sample, Words{} + counter.step,
                               ((index >> 32) & 0xFFFU) | counter.high};
    philox_rounds(words, [&](int round, int word) { return philox_round_key(counter.key, round, word); });
    std::array<Doubles, 4> numbers;
    for (std::size_t pair = 0; pair < 4; pair += 2) {
      Doubles square, radius;
      minus_two_log(words[pair], square);
      root(square, radius);
      cosine_and_sine(words[pair + 1], numbers[pair], numbers[pair + 1]);
      numbers[pair] *= radius;
      numbers[pair + 1] *= radius;
    }
    store_by_lanes(numbers, out);
  }
}

/// Writes the normal numbers of groups of eight blocks from `block` on, in double and rounded to Scalar.
template <class Scalar>
void normals(const Counter& counter, std::uint64_t block, std::size_t groups, Scalar* out) noexcept {
  compiled_twice<&normals_body<Scalar>>(counter, block, groups, out);
}

}  // namespace patchdiff::normal_kernel
