// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__unix__) || defined(__APPLE__)
#define PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT 1

#include <sys/resource.h>

#include <csignal>

/// While it lives, no file of this process, or of one that it starts, grows beyond `bytes`.
class FileSizeLimit {
 public:
  /// What meets a write beyond: an error half-way, as on a full disk, or SIGXFSZ, which ends the process there.
  enum class Beyond { error, signal };

  explicit FileSizeLimit(rlim_t bytes, Beyond beyond = Beyond::error)
      : handler_(std::signal(SIGXFSZ, beyond == Beyond::error ? SIG_IGN : SIG_DFL)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }

  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};
#endif
