// SPDX-License-Identifier: Apache-2.0
#pragma once

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

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
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
/// The file must keep its length: a program that touches what was cut off is killed. `read` is safe from that, and
/// `require_unchanged` tells a file that was written to.
/// Errors: FileError for a file that cannot be read.
class MappedFile {
 public:
  /// `component` is the one that error messages name.
  explicit MappedFile(const std::filesystem::path& path, std::string_view component = "MappedFile")
      : path_(path.string()), component_(component) {
    open(path);
  }

  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~MappedFile() { close(); }

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// Reads some of the bytes, `part` of `bytes()`, into memory of their own.
  ///
  /// Errors: DataError where the file has been cut off before their end; FileError where the system cannot read them.
  std::vector<std::byte> read(std::span<const std::byte> part) const {
#if defined(__unix__) || defined(__APPLE__)
    std::vector<std::byte> out(part.size());
    for (std::size_t done = 0; done < out.size();) {
      const auto at = static_cast<::off_t>(part.data() - bytes_.data() + static_cast<std::ptrdiff_t>(done));
      const ::ssize_t count = ::pread(file_.number, out.data() + done, out.size() - done, at);
      if (count < 0 && errno == EINTR) continue;
      require_system(count >= 0);
      if (count == 0) refuse_changed();
      done += static_cast<std::size_t>(count);
    }
    return out;
#else
    return {part.begin(), part.end()};
#endif
  }

  /// Errors: DataError for a file whose length or time of writing is no longer that of its opening.
  ///
  /// A change within one tick of the file system's clock that keeps the length goes unseen.
  void require_unchanged() const {
#if defined(__unix__) || defined(__APPLE__)
    struct stat status {};
    if (file_.number < 0 || ::fstat(file_.number, &status) != 0) return;
    if (Version(status) != version_) refuse_changed();
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

  [[noreturn]] void refuse_changed() const {
    refuse<DataError>(component_, path_, "a file that stays as it was opened", "one that was written to meanwhile");
  }

  void require_system(bool succeeded) const {
    if (succeeded) return;
    const std::error_code reason{errno, std::generic_category()};
    refuse<FileError>(component_, path_, "a readable file", str('"', reason.message(), '"'));
  }

  void open(const std::filesystem::path& path) {
    file_.number = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require_system(file_.number >= 0);
    struct stat status {};
    require_system(::fstat(file_.number, &status) == 0);
    version_ = Version(status);
    if (!S_ISREG(status.st_mode)) refuse<FileError>(component_, path_, "a regular file", "a folder or a device");
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size == 0) return;
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file_.number, 0);
    require_system(mapped != MAP_FAILED);
    bytes_ = {static_cast<const std::byte*>(mapped), size};
  }

  void close() noexcept {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
#else
  void open(const std::filesystem::path& path) {
    copy_ = read_file(path, {.component = component_});
    bytes_ = copy_;
  }

  void close() noexcept {}
#endif

#if defined(__unix__) || defined(__APPLE__)
  /// What changes when a file is written to.
  struct Version {
    Version() = default;
    template <class Stat>
    explicit Version(const Stat& status) : bytes(status.st_size) {
      const auto note = [this](const ::timespec& written) {
        seconds = written.tv_sec;
        nanoseconds = written.tv_nsec;
      };
      if constexpr (requires { status.st_mtim; }) {
        note(status.st_mtim);
      } else {
        note(status.st_mtimespec);  // macOS
      }
    }
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
