// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
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
/// The file must keep its length: a program that touches what was cut off is killed. `require_unchanged` tells one that
/// was written to.
/// Errors: FileError for a file that cannot be read.
class MappedFile {
 public:
  /// `component` is the one that error messages name.
  explicit MappedFile(const std::filesystem::path& path, std::string_view component = "MappedFile")
      : path_(path.string()), component_(component) {
    open(path, component);
  }

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
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

  /// Errors: DataError for a file whose length or time of writing is no longer that of its opening.
  ///
  /// A change within one tick of the file system's clock that keeps the length goes unseen.
  void require_unchanged() const {
#if defined(__unix__) || defined(__APPLE__)
    struct stat status {};
    if (file_.number < 0 || ::fstat(file_.number, &status) != 0) return;
    if (Version(status) != version_) {
      throw DataError(component_, path_, "a file that stays as it was opened", "one that was written to meanwhile");
    }
#endif
  }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(copy_, other.copy_);
    std::swap(path_, other.path_);
    std::swap(component_, other.component_);
#if defined(__unix__) || defined(__APPLE__)
    std::swap(file_.number, other.file_.number);
    std::swap(version_, other.version_);
#endif
  }

#if defined(__unix__) || defined(__APPLE__)
  struct Descriptor {
    int number = -1;
    ~Descriptor() {
      if (number >= 0) ::close(number);
    }
  };

  void open(const std::filesystem::path& path, std::string_view component) {
    const auto require = [&](bool holds) {
      const std::error_code reason{errno, std::generic_category()};
      if (!holds) throw FileError(component, path.string(), "a readable file", fmt::format("\"{}\"", reason.message()));
    };
    file_.number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require(file_.number >= 0);
    struct stat status {};
    require(::fstat(file_.number, &status) == 0);
    version_ = Version(status);
    if (!S_ISREG(status.st_mode)) {
      throw FileError(component, path.string(), "a regular file", "a folder or a device");
    }
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return;
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file_.number, 0);
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

#if defined(__unix__) || defined(__APPLE__)
  /// What changes when a file is written to.
  struct Version {
    Version() = default;
    explicit Version(const struct stat& status)
        : bytes(status.st_size), seconds(status.st_mtim.tv_sec), nanoseconds(status.st_mtim.tv_nsec) {}
    std::int64_t bytes = 0, seconds = 0, nanoseconds = 0;
    friend bool operator==(const Version&, const Version&) = default;
  };

  Descriptor file_{};
  Version version_{};
#endif
  std::span<const std::byte> bytes_{};
  std::vector<std::byte> copy_{};  ///< where files cannot be mapped
  std::string path_{}, component_{};
};

}  // namespace patchdiff
