// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/read_file.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace patchdiff {

/// A file that grows by whole records, each of one write.
///
/// Whoever reads it meanwhile, or after the program was killed, sees whole records; the last one may be there in part
/// where it lies on several pages of memory (of 4 KiB, as a rule). Where the machine stops, what came since the last
/// `sync` may be lost.
/// Errors: FileError with the path as argument, after which the file still ends with its last whole record.
class AppendFile {
 public:
  /// Opens the file, or makes an empty one; `component` and `record` are what error messages name.
  AppendFile(std::filesystem::path path, std::string component, std::string record)
      : path_(std::move(path)), component_(std::move(component)), record_(std::move(record)) {
    file_.reset(std::fopen(path_.string().c_str(), "ab"));
    if (file_ == nullptr) refuse_file("a writable file", {errno, std::generic_category()});
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);
    std::error_code unknown;
    const std::uintmax_t size = std::filesystem::file_size(path_, unknown);
    size_ = unknown ? 0 : size;
  }

  void append(std::string_view record) {
    if (std::fwrite(record.data(), 1, record.size(), file_.get()) != record.size()) {
      const std::error_code reason{errno, std::generic_category()};
      std::clearerr(file_.get());
      std::error_code ignored;
      std::filesystem::resize_file(path_, size_, ignored);
      refuse_file(str("a complete ", record_), reason);
    }
    size_ += record.size();
  }

  /// Waits until the records are on the disk.
  void sync() const {
#if defined(__unix__) || defined(__APPLE__)
    if (::fsync(::fileno(file_.get())) == 0 || errno == EINVAL) return;  // pipes and devices cannot be synced
    refuse_file("a working disk", {errno, std::generic_category()});
#endif
  }

  /// What the file holds; of a device, nothing.
  std::string text() const {
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(path_, unknown)) return {};
    const std::vector<std::byte> bytes = read_file(path_, {.component = component_});
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// Cuts off what lies behind the first `size` bytes.
  void cut(std::uintmax_t size) {
    if (size == size_) return;
    std::error_code refused;
    std::filesystem::resize_file(path_, size, refused);
    if (refused) refuse_file("a writable file", refused);
    size_ = size;
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  [[noreturn]] void refuse_file(std::string_view expected, std::error_code reason) const {
    refuse<FileError>(component_, path_.string(), expected, str('"', reason.message(), '"'));
  }

  std::filesystem::path path_;
  std::string component_;
  std::string record_;
  std::unique_ptr<std::FILE, Close> file_{};
  std::uintmax_t size_ = 0;
};

}  // namespace patchdiff
