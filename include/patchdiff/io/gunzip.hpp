// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include <zlib.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Whether these are the first bytes of a gzip file.
inline bool is_gzip(std::span<const std::byte> bytes) noexcept {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1F} && bytes[1] == std::byte{0x8B};
}

/// The first `most` bytes of what a gzip file holds, which is in memory and came from `path`; several members are
/// joined.
///
/// Errors: DataError if the file ends early or is damaged, as far as it is decompressed: all of it where it holds less
/// than `most`.
inline std::vector<std::byte> gunzip(std::span<const std::byte> compressed, const std::filesystem::path& path,
                                     std::uint64_t most, std::string_view component = "gunzip") {
  const auto refuse_file = [&](std::string_view expected, std::string_view got) {
    refuse<DataError>(component, path.string(), expected, got);
  };

  constexpr int gzip_window_bits = 15 + 16;
  z_stream stream{};
  if (inflateInit2(&stream, gzip_window_bits) != Z_OK) throw std::bad_alloc{};
  const std::unique_ptr<z_stream, int (*)(z_streamp)> end{&stream, inflateEnd};

  std::vector<std::byte> bytes;
  std::array<std::byte, 1 << 16> chunk;
  std::size_t next = 0;
  while (bytes.size() < most) {
    if (stream.avail_in == 0) {
      const std::size_t count = std::min<std::size_t>(compressed.size() - next, 1U << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(compressed.data() + next));
      stream.avail_in = static_cast<uInt>(count);
      next += count;
    }
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    const int status = inflate(&stream, Z_NO_FLUSH);

    const std::uint64_t count = std::min<std::uint64_t>(chunk.size() - stream.avail_out, most - bytes.size());
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(count));

    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0 && next == compressed.size()) return bytes;
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR) {
      refuse_file("a whole gzip file", str("one that ends early, after ", compressed.size(), " bytes"));
    } else if (status == Z_MEM_ERROR) {
      throw std::bad_alloc{};
    } else if (status != Z_OK) {
      refuse_file("a sound gzip file", str('"', stream.msg != nullptr ? stream.msg : "a preset dictionary", '"'));
    }
  }
  return bytes;
}

}  // namespace patchdiff
