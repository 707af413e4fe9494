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
#include <patchdiff/core/str.hpp>
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

/// The bits of a value of type BF16, the upper half of a float's.
struct BFloat16 {
  std::uint16_t bits;
  explicit operator float() const noexcept { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  explicit operator double() const noexcept { return static_cast<float>(*this); }
};

/// The bits of a value of type F16: IEEE 754's binary16.
struct Float16 {
  std::uint16_t bits;
  explicit operator float() const noexcept {
    const std::uint32_t wide = bits, sign = (wide & 0x8000) << 16, exponent = wide >> 10 & 0x1F,
                        fraction = wide & 0x3FF;
    if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000 | fraction << 13);
    if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    const float small = static_cast<float>(fraction) * 0x1p-24F;
    return sign == 0 ? small : -small;
  }
  explicit operator double() const noexcept { return static_cast<float>(*this); }
};

/// One tensor of a safetensors file: a view of bytes that the file or the caller owns.
///
/// The bytes are little-endian, outermost dimension first, and need not be aligned.
struct SafetensorsTensor : SafetensorsEntry {
  std::span<const std::byte> data{};

  /// `count` indices of the first dimension, from `first` on.
  ///
  /// Errors: ShapeError where it has fewer.
  SafetensorsTensor rows(std::int64_t first, std::int64_t count) const {
    if (shape.empty() || first < 0 || count < 0 || count > shape[0] - first) {
      refuse<ShapeError>("SafetensorsTensor", name, str(count, " rows from ", first, " on"), to_string(shape));
    }
    SafetensorsTensor part = *this;
    part.shape[0] = count;
    const std::size_t row = shape[0] == 0 ? 0 : data.size() / static_cast<std::size_t>(shape[0]);
    part.data = data.subspan(static_cast<std::size_t>(first) * row, static_cast<std::size_t>(count) * row);
    return part;
  }

  /// Whether it has a type that `values` gives as floating point.
  bool has_numbers() const noexcept {
    switch (type) {
      case SafetensorsType::float64:
      case SafetensorsType::float32:
      case SafetensorsType::float16:
      case SafetensorsType::bfloat16:
      case SafetensorsType::int64: return true;
      default: return false;
    }
  }

  /// The values as `double`, `float` or `std::int64_t`.
  ///
  /// F64, F32, F16, BF16 and I64 go to floating point (rounded where it is narrower); only I64 goes to `std::int64_t`.
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
      if (type == SafetensorsType::float16) return converted<Float16, Scalar>();
      if (type == SafetensorsType::bfloat16) return converted<BFloat16, Scalar>();
    }
    refuse<DataError>("SafetensorsTensor", name, floating ? "F64, F32, F16, BF16 or I64" : "I64", to_string(type));
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
