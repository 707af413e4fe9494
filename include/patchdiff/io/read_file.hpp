// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// How `read_file` reads.
struct ReadFileOptions {
  /// The component that error messages name.
  std::string_view component = "read_file";
  /// Larger contents are refused, in bytes.
  std::uint64_t maximum_bytes = std::numeric_limits<std::uint64_t>::max();
};

/// Reads a whole file into memory.
///
/// Errors: FileError if it cannot be read; DataError if it is larger than the maximum.
inline std::vector<std::byte> read_file(const std::filesystem::path& path, const ReadFileOptions& options = {}) {
  const auto refuse_unreadable = [&] {
    const std::error_code reason{errno, std::generic_category()};
    refuse<FileError>(options.component, path.string(), "a readable file", str('"', reason.message(), '"'));
  };
  const auto require_room = [&](std::uint64_t size) {
    if (size <= options.maximum_bytes) return;
    refuse<DataError>(options.component, path.string(), str("at most ", options.maximum_bytes, " bytes"), "more");
  };

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(path.string().c_str(), "rb"), std::fclose};
  if (file == nullptr) refuse_unreadable();

  std::vector<std::byte> bytes;
  std::error_code unknown;
  const std::uintmax_t size = std::filesystem::file_size(path, unknown);
  if (!unknown) {
    require_room(size);
    bytes.reserve(static_cast<std::size_t>(size));
  }
  std::array<std::byte, 1 << 16> chunk;
  while (const std::size_t count = std::fread(chunk.data(), 1, chunk.size(), file.get())) {
    require_room(std::uint64_t{bytes.size()} + count);
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(count));
  }
  if (std::ferror(file.get()) != 0) refuse_unreadable();
  return bytes;
}

}  // namespace patchdiff
