// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/atomic_file.hpp>

namespace patchdiff {

/// Writes an array of float32 to an NPY file, part by part; it appears under its name when it is whole.
///
/// Errors: FileError where the file cannot be written; ShapeError for more or fewer values than the shape has.
/// Source: NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, const Shape& shape)
      : file_(path, component), missing_(element_count(shape)) {
    static_assert(std::endian::native == std::endian::little);
    const std::string_view comma = shape.size() == 1 ? "," : "";
    std::string header = str("{'descr': '<f4', 'fortran_order': False, 'shape': (", join(shape, ", "), comma, "), }");
    constexpr std::size_t before = 10, alignment = 64;
    header.append((alignment - (before + header.size() + 1) % alignment) % alignment, ' ').push_back('\n');
    file_.write(std::string_view("\x93NUMPY\x01\0", 8));
    const std::string length{static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
    file_.write(length);
    file_.write(header);
  }

  /// Adds values, in the order of the last dimension first.
  void write(std::span<const float> values) {
    if (static_cast<std::int64_t>(values.size()) > missing_) refuse_count(static_cast<std::int64_t>(values.size()));
    file_.write(std::as_bytes(values));
    missing_ -= static_cast<std::int64_t>(values.size());
  }

  /// Gives the file its name; the last call.
  void commit() {
    if (missing_ != 0) refuse_count(0);
    file_.commit();
  }

 private:
  static constexpr const char* component = "NpyWriter";

  [[noreturn]] void refuse_count(std::int64_t got) const {
    refuse<ShapeError>(component, "values", str(missing_, " more"), str(got));
  }

  AtomicFile file_;
  std::int64_t missing_;
};

}  // namespace patchdiff
