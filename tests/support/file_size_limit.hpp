// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__unix__) || defined(__APPLE__)
#define PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT 1

#include <sys/resource.h>

#include <csignal>

/// While it lives, no file of this process grows beyond `bytes`: writes stop half-way, as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
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
