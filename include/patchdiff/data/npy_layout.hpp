// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/io/mapped_file.hpp>

namespace patchdiff {

/// Reads the dictionary in the header of an NPY file; `read_npy_layout` is the function to call.
class NpyHeader {
 public:
  NpyHeader(std::string_view text, std::string path) : rest_(text), path_(std::move(path)) {
    std::set<std::string> keys;
    expect('{');
    while (!accept('}')) {
      const std::string key(quoted());
      if (!keys.insert(key).second) refuse_file("each key once", str('\'', key, "' again"));
      expect(':');
      if (key == "descr") {
        scalar_ = scalar();
      } else if (key == "fortran_order") {
        if (!accept("False")) refuse_file("'fortran_order': False", excerpt());
      } else if (key == "shape") {
        shape_ = sizes();
      } else {
        refuse_file("the keys 'descr', 'fortran_order' and 'shape'", str('\'', key, '\''));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!rest_.empty()) refuse_file("an end after }", excerpt());
    if (keys.size() != 3) refuse_file("the keys 'descr', 'fortran_order' and 'shape'", str(keys.size()));
  }

  ArrayScalar scalar_type() const noexcept { return scalar_; }
  const Shape& shape() const noexcept { return shape_; }

 private:
  [[noreturn]] void refuse_file(std::string_view expected, std::string_view got) const {
    refuse<DataError>("read_npy_layout", path_, expected, got);
  }

  /// What stands next in the header.
  std::string excerpt() const {
    const std::string_view next = rest_.substr(0, 20);
    return next.empty() ? "the end of the header" : str('"', next, '"');
  }

  void skip_space() {
    while (!rest_.empty() && std::string_view(" \t\n").find(rest_.front()) != std::string_view::npos) {
      rest_.remove_prefix(1);
    }
  }

  bool accept(std::string_view token) {
    skip_space();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  bool accept(char token) { return accept(std::string_view(&token, 1)); }

  void expect(char token) {
    if (!accept(token)) refuse_file(str(token, " in the header"), excerpt());
  }

  std::string_view quoted() {
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') expect(quote);
    const std::string_view text = rest_.substr(0, rest_.find(quote));
    rest_.remove_prefix(text.size());
    expect(quote);
    return text;
  }

  ArrayScalar scalar() {
    constexpr std::string_view known = "values of type |u1, <u2 or <f4";
    if (accept('[')) refuse_file(known, "records");
    const std::string_view type = quoted();
    if (type == "|u1") return ArrayScalar::uint8;
    if (type == "<u2") return ArrayScalar::uint16;
    if (type == "<f4") return ArrayScalar::float32;
    refuse_file(known, type);
  }

  Shape sizes() {
    Shape shape;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc{} || size < 0) refuse_file("sizes from 0 to 2^63 - 1", excerpt());
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      accept('L');  // of Python 2
      shape.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view rest_;
  std::string path_;
  ArrayScalar scalar_ = ArrayScalar::uint8;
  Shape shape_{};
};

/// Where the images of an NPY file lie, for MappedArray, which compares it with the length of the file.
///
/// Shapes: [N, C, H, W], or [N, H, W] for grey images; in C order, of type |u1, <u2 or <f4; versions 1 to 3.
/// Errors: FileError if the file cannot be read; DataError, naming it, for anything else, and for a header of more than
/// 10000 bytes, NumPy's own limit.
/// Source: NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
inline ArrayLayout read_npy_layout(const std::filesystem::path& path) {
  const auto refuse_file = [&](std::string_view expected, std::string_view got) {
    refuse<DataError>("read_npy_layout", path.string(), expected, got);
  };
  const MappedFile file(path, "read_npy_layout");
  const std::span<const std::byte> bytes = file.bytes();
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  constexpr std::string_view magic = "\x93NUMPY";
  if (!text.starts_with(magic)) refuse_file("a file that starts with \\x93NUMPY", "another");

  constexpr std::size_t version_at = 6, length_at = 8;
  const auto byte = [&](std::size_t at) { return std::to_integer<std::size_t>(bytes[at]); };
  if (bytes.size() < length_at) refuse_file("a version", "the end of the file");
  if (byte(version_at) < 1 || byte(version_at) > 3 || byte(version_at + 1) != 0) {
    refuse_file("version 1.0, 2.0 or 3.0", str(byte(version_at), '.', byte(version_at + 1)));
  }
  const std::size_t start = length_at + (byte(version_at) == 1 ? 2 : 4);
  if (bytes.size() < start) refuse_file("a length of the header", "the end of the file");
  std::size_t length = 0;
  for (std::size_t at = start; at-- > length_at;) length = length << 8 | byte(at);
  constexpr std::size_t longest = 10'000;
  if (length > longest) refuse_file(str("a header of at most ", longest, " bytes"), str(length));
  if (length > bytes.size() - start) {
    refuse_file(str("a header of ", length, " bytes"), str(bytes.size() - start));
  }

  const NpyHeader header(text.substr(start, length), path.string());
  const Shape& shape = header.shape();
  if (shape.size() != 3 && shape.size() != 4) refuse_file("a shape of [N, C, H, W] or [N, H, W]", to_string(shape));
  const std::size_t rank = shape.size();
  return {.count = shape[0],
          .image = {rank == 4 ? shape[1] : 1, shape[rank - 2], shape[rank - 1]},
          .scalar = header.scalar_type(),
          .offset = start + length};
}

}  // namespace patchdiff
