// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace patchdiff {

/// A file that appears under its name only when it is whole.
///
/// The bytes go to `NAME.partial0` (or the next free number) in the same folder; `commit` puts them on the disk and
/// renames. Without `commit`, or after a failure before the renaming, the partial file is removed and an earlier file
/// of that name stays as it was. A killed program can leave the partial file behind. A symbolic link is replaced, not
/// followed.
/// Errors: FileError with the path as argument; after one, the file takes no more bytes and cannot be committed.
class AtomicFile {
 public:
  /// Opens the partial file; `component` is the one that error messages name.
  explicit AtomicFile(std::filesystem::path path, std::string component = "AtomicFile")
      : path_(std::move(path)), component_(std::move(component)) {
    std::error_code unknown;
    const auto status = std::filesystem::status(path_, unknown);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
      refuse<FileError>(component_, path_.string(), "a new name or a regular file", "a folder or a device");
    }
    open();
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() { discard(); }

  void write(std::span<const std::byte> bytes) {
    require_open();
    if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) fail("a complete write");
  }

  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Gives the file its name; the last call.
  void commit() {
    require_open();
    if (std::fflush(file_) != 0 || !sync(file_)) fail("a complete write");
    if (std::fclose(std::exchange(file_, nullptr)) != 0) fail("a complete write");
    std::error_code refused;
    std::filesystem::rename(partial_, path_, refused);
    if (refused) fail("a name that can be replaced", refused);
    partial_.clear();
    if (!sync_folder()) fail("a folder on a working disk");
  }

 private:
  void open() {
    constexpr int attempts = 1000;
    for (int attempt = 0; attempt < attempts; ++attempt) {
      auto candidate = path_;
      candidate += str(".partial", attempt);
      file_ = std::fopen(candidate.string().c_str(), "wbx");
      if (file_ != nullptr) {
        partial_ = std::move(candidate);
        return;
      }
      if (errno != EEXIST) break;
    }
    fail("a writable folder");
  }

  void require_open() const {
    if (file_ == nullptr) {
      refuse<FileError>(component_, path_.string(), "an open file", "one that failed or is committed");
    }
  }

  [[noreturn]] void fail(std::string_view expected) { fail(expected, {errno, std::generic_category()}); }

  [[noreturn]] void fail(std::string_view expected, std::error_code reason) {
    discard();
    refuse<FileError>(component_, path_.string(), expected, str('"', reason.message(), '"'));
  }

  void discard() noexcept {
    if (file_ != nullptr) std::fclose(std::exchange(file_, nullptr));
    std::error_code ignored;
    if (!partial_.empty()) std::filesystem::remove(partial_, ignored);
    partial_.clear();
  }

#if defined(__unix__) || defined(__APPLE__)
  static bool sync(std::FILE* file) noexcept { return ::fsync(::fileno(file)) == 0; }

  /// False if the disk failed; a folder that cannot be opened or synced is left to the system.
  bool sync_folder() const {
    const auto parent = path_.parent_path();
    const int folder = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return true;
    const int error = ::fsync(folder) == 0 ? 0 : errno;
    ::close(folder);
    errno = error;
    return error != EIO;
  }
#else
  static bool sync(std::FILE*) noexcept { return true; }
  bool sync_folder() const noexcept { return true; }
#endif

  std::filesystem::path path_;
  std::string component_;
  std::filesystem::path partial_;
  std::FILE* file_ = nullptr;
};

}  // namespace patchdiff
