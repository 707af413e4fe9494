// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/io/safetensors_type.hpp>

namespace patchdiff {

static_assert(std::endian::native == std::endian::little, "patchdiff: safetensors files are little-endian");

/// What the header of a safetensors file says of one tensor, without its place.
struct SafetensorsEntry {
  std::string name{};
  SafetensorsType type = SafetensorsType::float32;
  Shape shape{};

  friend bool operator==(const SafetensorsEntry&, const SafetensorsEntry&) = default;
};

/// The size of a tensor's values in bytes, or nothing if a size is negative or the product overflows.
inline std::optional<std::uint64_t> byte_count(const SafetensorsEntry& entry) noexcept {
  constexpr auto maximum = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t bytes = byte_size(entry.type);
  for (const std::int64_t size : entry.shape) {
    if (size < 0 || (size > 0 && bytes > maximum / static_cast<std::uint64_t>(size))) return std::nullopt;
    bytes *= static_cast<std::uint64_t>(size);
  }
  return bytes;
}

/// One tensor of a safetensors file: a view of bytes that the file or the caller owns.
///
/// The bytes are little-endian, outermost dimension first, and need not be aligned.
struct SafetensorsTensor : SafetensorsEntry {
  std::span<const std::byte> data{};

  /// The values as `double`, `float` or `std::int64_t`.
  ///
  /// F64, F32 and I64 go to floating point (rounded where it is narrower); only I64 goes to `std::int64_t`.
  /// Errors: DataError for other types.
  template <class Scalar>
  std::vector<Scalar> values() const {
    static_assert(
        std::is_same_v<Scalar, double> || std::is_same_v<Scalar, float> || std::is_same_v<Scalar, std::int64_t>,
        "patchdiff: values() gives double, float or std::int64_t");
    constexpr bool floating = std::is_floating_point_v<Scalar>;
    if (type == SafetensorsType::int64) return converted<std::int64_t, Scalar>();
    if constexpr (floating) {
      if (type == SafetensorsType::float64) return converted<double, Scalar>();
      if (type == SafetensorsType::float32) return converted<float, Scalar>();
    }
    throw DataError("SafetensorsTensor", name, floating ? "F64, F32 or I64" : "I64", to_string(type));
  }

 private:
  template <class Stored, class Scalar>
  std::vector<Scalar> converted() const {
    std::vector<Scalar> out(data.size() / sizeof(Stored));
    for (std::size_t index = 0; index < out.size(); ++index) {
      Stored value;
      std::memcpy(&value, data.data() + index * sizeof(Stored), sizeof(Stored));
      out[index] = static_cast<Scalar>(value);
    }
    return out;
  }
};

}  // namespace patchdiff
