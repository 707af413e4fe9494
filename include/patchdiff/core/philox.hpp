// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace patchdiff {

/// The ten rounds of Philox4x32-10 on four 32-bit words, each in a 64-bit integer or a vector of such.
template <class Word>
[[gnu::always_inline]] constexpr void philox_rounds(std::array<Word, 4>& words, std::uint64_t key) noexcept {
  constexpr std::uint64_t multiplier0 = 0xD2511F53;
  constexpr std::uint64_t multiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t weyl0 = 0x9E3779B9;
  constexpr std::uint32_t weyl1 = 0xBB67AE85;
  constexpr std::uint64_t low = 0xFFFFFFFF;

  auto key0 = static_cast<std::uint32_t>(key);
  auto key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Word product0 = words[0] * multiplier0;
    const Word product1 = words[2] * multiplier1;
    words[0] = (product1 >> 32) ^ words[1] ^ std::uint64_t{key0};
    words[1] = product1 & low;
    words[2] = (product0 >> 32) ^ words[3] ^ std::uint64_t{key1};
    words[3] = product0 & low;
    key0 += weyl0;
    key1 += weyl1;
  }
}

/// Philox4x32-10: 128 bits of counter and 64 bits of key give 128 random bits, with no state.
///
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::uint64_t key) noexcept {
  std::array<std::uint64_t, 4> words{counter[0], counter[1], counter[2], counter[3]};
  philox_rounds(words, key);
  const auto word = [&](std::size_t index) { return static_cast<std::uint32_t>(words[index]); };
  return {word(0), word(1), word(2), word(3)};
}

}  // namespace patchdiff
