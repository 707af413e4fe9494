// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace patchdiff {

/// The checksum CRC-32C (Castagnoli) of some bytes.
///
/// Source: RFC 3720, section 12.1 and appendix B.4.
constexpr std::uint32_t crc32c(std::string_view bytes) noexcept {
  constexpr auto table = [] {
    std::array<std::uint32_t, 256> remainders{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t remainder = byte;
      for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ (remainder % 2 == 1 ? 0x82F63B78 : 0);
      remainders[byte] = remainder;
    }
    return remainders;
  }();
  std::uint32_t remainder = 0xFFFFFFFF;
  for (const char byte : bytes) {
    remainder = remainder >> 8 ^ table[(remainder ^ static_cast<unsigned char>(byte)) & 0xFF];
  }
  return ~remainder;
}

}  // namespace patchdiff
