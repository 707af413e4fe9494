// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/read_file.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace patchdiff {

/// The bytes of a file, read by the system where they are touched; elsewhere than on POSIX they are read at once.
///
/// The file must keep its length: a program that touches what was cut off is killed.
/// Errors: FileError for a file that cannot be read.
class MappedFile {
 public:
  /// `component` is the one that error messages name.
  explicit MappedFile(const std::filesystem::path& path, std::string_view component = "MappedFile") {
    open(path, component);
  }

  MappedFile(MappedFile&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})), copy_(std::exchange(other.copy_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(copy_, other.copy_);
    return *this;
  }
  ~MappedFile() { close(); }

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// Gives back the memory that some of the bytes take; they are read again where they are touched again.
  void release(std::span<const std::byte> part) const noexcept {
#if defined(__unix__) || defined(__APPLE__)
    if (part.empty()) return;
    constexpr std::size_t around = 1 << 21;  // with a touched page the system brings some of those around it
    const auto begin = static_cast<std::size_t>(part.data() - bytes_.data());
    const std::size_t first = begin / around * around;
    const std::size_t end = std::min(bytes_.size(), (begin + part.size() + around - 1) / around * around);
    ::madvise(const_cast<std::byte*>(bytes_.data()) + first, end - first, MADV_DONTNEED);
#endif
  }

 private:
#if defined(__unix__) || defined(__APPLE__)
  struct Descriptor {
    int number;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  };

  void open(const std::filesystem::path& path, std::string_view component) {
    const auto require = [&](bool holds) {
      const std::error_code reason{errno, std::generic_category()};
      if (!holds) throw FileError(component, path.string(), "a readable file", fmt::format("\"{}\"", reason.message()));
    };
    const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    require(file.number >= 0);
    struct stat status {};
    require(::fstat(file.number, &status) == 0);
    if (!S_ISREG(status.st_mode)) {
      throw FileError(component, path.string(), "a regular file", "a folder or a device");
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return;
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number, 0);
    require(mapped != MAP_FAILED);
    bytes_ = {static_cast<const std::byte*>(mapped), size};
  }

  void close() noexcept {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
#else
  void open(const std::filesystem::path& path, std::string_view component) {
    copy_ = read_file(path, {.component = component});
    bytes_ = copy_;
  }

  void close() noexcept {}
#endif

  std::span<const std::byte> bytes_{};
  std::vector<std::byte> copy_{};  ///< where files cannot be mapped
};

}  // namespace patchdiff
