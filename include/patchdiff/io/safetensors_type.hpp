// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace patchdiff {

/// The scalar types of a safetensors file that the library knows.
///
/// The order is that of the format's reference implementation, which decides where a tensor lies in the file.
enum class SafetensorsType : std::uint8_t {
  boolean,
  uint8,
  int8,
  int16,
  float16,
  bfloat16,
  int32,
  float32,
  float64,
  int64,
};

/// The name of a type in the file's header.
constexpr std::string_view to_string(SafetensorsType type) noexcept {
  constexpr std::array<std::string_view, 10> names{"BOOL", "U8",  "I8",  "I16", "F16",
                                                   "BF16", "I32", "F32", "F64", "I64"};
  return names[static_cast<std::size_t>(type)];
}

/// The type of that name in a header, or nothing.
constexpr std::optional<SafetensorsType> safetensors_type(std::string_view name) noexcept {
  for (std::uint8_t index = 0; index <= static_cast<std::uint8_t>(SafetensorsType::int64); ++index) {
    const auto type = static_cast<SafetensorsType>(index);
    if (to_string(type) == name) return type;
  }
  return std::nullopt;
}

/// The size of one value in bytes.
constexpr std::size_t byte_size(SafetensorsType type) noexcept {
  constexpr std::array<std::size_t, 10> sizes{1, 1, 1, 2, 2, 2, 4, 4, 8, 8};
  return sizes[static_cast<std::size_t>(type)];
}

}  // namespace patchdiff
