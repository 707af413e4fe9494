// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace patchdiff {

/// Of Philox4x32-10.
constexpr int philox_round_count = 10;

/// The word of a key, first (0) or second (1), that a round mixes in.
constexpr std::uint64_t philox_round_key(std::uint64_t key, int round, int word) noexcept {
  constexpr std::uint32_t weyl[] = {0x9E3779B9, 0xBB67AE85};
  return static_cast<std::uint32_t>(key >> (32 * word)) + static_cast<std::uint32_t>(round) * weyl[word];
}

/// The rounds of Philox4x32-10 on four 32-bit words, each in a 64-bit integer or in many such.
///
/// `round_key(round, word)` is a number of `philox_round_key`, or many.
template <class Word, class RoundKey>
[[gnu::always_inline]] constexpr void philox_rounds(std::array<Word, 4>& words, const RoundKey& round_key) {
  constexpr std::uint64_t multiplier0 = 0xD2511F53;
  constexpr std::uint64_t multiplier1 = 0xCD9E8D57;
  constexpr std::uint64_t low = 0xFFFFFFFF;

  for (int round = 0; round < philox_round_count; ++round) {
    const Word product0 = words[0] * multiplier0;
    const Word product1 = words[2] * multiplier1;
    words[0] = (product1 >> 32) ^ words[1] ^ round_key(round, 0);
    words[1] = product1 & low;
    words[2] = (product0 >> 32) ^ words[3] ^ round_key(round, 1);
    words[3] = product0 & low;
  }
}

/// Philox4x32-10: 128 bits of counter and 64 bits of key give 128 random bits, with no state.
///
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t key) noexcept {
  std::array<std::uint64_t, 4> words{counter[0], counter[1], counter[2], counter[3]};
  philox_rounds(words, [key](int round, int word) { return philox_round_key(key, round, word); });
  const auto word = [&](std::size_t index) { return static_cast<std::uint32_t>(words[index]); };
  return {word(0), word(1), word(2), word(3)};
}

}  // namespace patchdiff
