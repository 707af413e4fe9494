// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>

/// The folder that one training run writes to, and no other: it is made where it is missing, and locked.
///
/// The lock is the file `.lock`, which stays; the system releases it when the program ends, however it ends.
/// Errors: FileError for a folder that cannot be made or written; ConfigError for one that another run writes to or,
/// unless the run is to be resumed, has written to.
class RunFolder {
 public:
  static constexpr std::string_view model = "model.safetensors";
  static constexpr std::string_view losses = "loss.csv";
  static constexpr std::string_view losses_by_sigma = "loss_by_sigma.csv";
  static constexpr std::string_view json_lines = "log.jsonl";
  static constexpr std::string_view loss_picture = "loss.png";
  static constexpr std::string_view samples = "samples.png";
  static constexpr std::string_view settings = "run.toml";

  explicit RunFolder(std::filesystem::path folder, bool resume = false) : folder_(std::move(folder)) {
    std::error_code refused;
    std::filesystem::create_directories(folder_, refused);
    if (refused) fail(refused);
    lock_ = ::open((folder_ / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock_ < 0) fail({errno, std::generic_category()});
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      const std::error_code reason{errno, std::generic_category()};
      ::close(lock_);
      if (reason != std::errc::operation_would_block) fail(reason);
      throw patchdiff::ConfigError("train", "--out", "a folder that no other run writes to",
                                   fmt::format("\"{}\"", folder_.string()));
    }
    if (resume) return;
    for (const std::string_view name : {model, losses, losses_by_sigma, json_lines, loss_picture, samples, settings}) {
      if (!std::filesystem::exists(folder_ / name, refused)) continue;
      ::close(lock_);
      throw patchdiff::ConfigError("train", "--out", "a folder without files of an earlier run",
                                   fmt::format("\"{}\" with {}", folder_.string(), name));
    }
  }

  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  ~RunFolder() { ::close(lock_); }

  /// Whether a run has written all that it leaves in the folder; checkpoints are then removed.
  static bool is_finished(const std::filesystem::path& folder) {
    std::error_code unknown;
    return std::filesystem::exists(folder / model, unknown) && std::filesystem::exists(folder / samples, unknown);
  }

  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }
  const std::filesystem::path& path() const noexcept { return folder_; }

 private:
  [[noreturn]] void fail(std::error_code reason) const {
    throw patchdiff::FileError("train", "--out", "a folder that can be written",
                               fmt::format("\"{}\" ({})", folder_.string(), reason.message()));
  }

  std::filesystem::path folder_;
  int lock_ = -1;
};
