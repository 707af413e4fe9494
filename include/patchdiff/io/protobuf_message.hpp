// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace patchdiff {

/// The lowest `count` bytes of a number, the lowest first.
inline std::string little_endian(std::uint64_t value, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(value >> 8 * i & 0xFF));
  return bytes;
}

/// A protocol buffer message that is put together field by field.
///
/// Source: the encoding guide of protocol buffers (protobuf.dev).
class ProtobufMessage {
 public:
  ProtobufMessage& add_integer(std::uint32_t field, std::int64_t value) {
    start(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  ProtobufMessage& add_double(std::uint32_t field, double value) {
    start(field, 1);
    bytes_ += little_endian(std::bit_cast<std::uint64_t>(value), 8);
    return *this;
  }
  ProtobufMessage& add_float(std::uint32_t field, float value) {
    start(field, 5);
    bytes_ += little_endian(std::bit_cast<std::uint32_t>(value), 4);
    return *this;
  }
  ProtobufMessage& add_bytes(std::uint32_t field, std::string_view value) {
    start(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  ProtobufMessage& add_message(std::uint32_t field, const ProtobufMessage& value) {
    return add_bytes(field, value.bytes_);
  }

  const std::string& bytes() const noexcept { return bytes_; }

 private:
  void start(std::uint32_t field, std::uint32_t wire_type) { varint(field << 3 | wire_type); }

  /// Seven bits a byte, the lowest first; all bytes but the last have the eighth bit.
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>((value & 0x7F) | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }

  std::string bytes_{};
};

}  // namespace patchdiff
