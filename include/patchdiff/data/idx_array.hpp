// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/gunzip.hpp>
#include <patchdiff/io/read_file.hpp>

namespace patchdiff {

/// The contents of an IDX file of unsigned bytes, outermost dimension first.
struct IdxArray {
  Shape shape{};
  std::vector<std::uint8_t> values{};
};

/// How `read_idx` reads.
struct IdxOptions {
  /// The number of dimensions that the file must have: 3 for grey images, 1 for labels.
  std::size_t rank = 3;
  /// Larger contents are refused, in bytes, also those that a header announces.
  std::uint64_t maximum_bytes = std::uint64_t{1} << 32;
};

/// Reads the bytes of an IDX file, plain or compressed with gzip; `path` stands for it in error messages.
///
/// No more is decompressed than the header announces.
/// Errors: DataError, naming the file, unless it is whole and just what was asked for.
/// Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section on file formats.
inline IdxArray parse_idx(std::span<const std::byte> file, const std::filesystem::path& path,
                          const IdxOptions& options = {}) {
  const auto refuse_file = [&](std::string_view expected, std::string_view got) {
    refuse<DataError>("read_idx", path.string(), expected, got);
  };
  std::vector<std::byte> unpacked;
  std::span<const std::byte> bytes = file;
  const auto unpack = [&](std::uint64_t most) {
    if (!is_gzip(file)) return;
    unpacked = gunzip(file, path, most, "read_idx");
    bytes = unpacked;
  };
  const auto byte = [&](std::size_t index) { return std::to_integer<std::uint32_t>(bytes[index]); };

  const std::size_t header = 4 + 4 * options.rank;
  unpack(header);
  if (bytes.size() < 4) refuse_file("an IDX file of at least 4 bytes", str(bytes.size()));
  if (byte(0) != 0 || byte(1) != 0) {
    refuse_file("an IDX file that starts with 00 00", str(padded(byte(0), 2, 16), ' ', padded(byte(1), 2, 16)));
  }
  if (byte(2) != 0x08) refuse_file("unsigned bytes (type 08)", str("type ", padded(byte(2), 2, 16)));
  if (byte(3) != options.rank) refuse_file(str(options.rank, " dimensions"), str(byte(3)));
  if (bytes.size() < header) refuse_file(str("a header of ", header, " bytes"), str(bytes.size()));

  IdxArray array;
  std::uint64_t count = 1;
  bool overflow = false;
  for (std::size_t at = 4; at < header; at += 4) {
    const std::uint64_t size = byte(at) << 24 | byte(at + 1) << 16 | byte(at + 2) << 8 | byte(at + 3);
    array.shape.push_back(static_cast<std::int64_t>(size));
    overflow = overflow || (size != 0 && count > options.maximum_bytes / size);
    count *= size;
  }
  if (overflow) refuse_file(str("at most ", options.maximum_bytes, " bytes"), to_string(array.shape));
  unpack(std::max(count, header + count + 1));  // a sum too large for 64 bits is the smaller
  if (count != bytes.size() - header) {
    const std::size_t held = bytes.size() - header;
    refuse_file(str(count, " bytes for ", to_string(array.shape)), held > count ? "more" : str(held));
  }
  const auto* values = reinterpret_cast<const std::uint8_t*>(bytes.data());
  array.values.assign(values + header, values + bytes.size());
  return array;
}

/// Reads an IDX file of unsigned bytes, plain or compressed with gzip.
///
/// Errors: FileError if it cannot be read; DataError as of `parse_idx`.
inline IdxArray read_idx(const std::filesystem::path& path, const IdxOptions& options = {}) {
  return parse_idx(read_file(path, {.component = "read_idx", .maximum_bytes = options.maximum_bytes}), path, options);
}

}  // namespace patchdiff
