// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/io/checkpoint.hpp>

namespace patchdiff {

/// The last checkpoints of one run, `checkpoint-STEP.safetensors` in a folder that no other run writes to.
class CheckpointFolder {
 public:
  /// Uses a folder that exists; keeps the last `keep` checkpoints. Errors: ConfigError for fewer than 1.
  explicit CheckpointFolder(std::filesystem::path folder, std::int64_t keep = 2)
      : folder_(std::move(folder)), keep_(static_cast<std::size_t>(keep)) {
    require<ConfigError>(keep >= 1, "CheckpointFolder", "keep", "at least 1", keep);
  }

  /// Writes a checkpoint, then removes those that are older than the last `keep`, and what a killed writer left.
  ///
  /// Errors: FileError, which loses nothing that was saved.
  template <Backend B>
  void save(const CheckpointParts<B>& parts, const TrainState& state, const Checkpoint::Settings& settings = {}) const {
    Checkpoint::save(folder_ / str(stem, state.step, suffix), parts, state, settings);
    const auto found = checkpoints();
    std::size_t kept = 0;
    for (auto newest = found.rbegin(); newest != found.rend(); ++newest) {
      if (newest->first <= state.step && ++kept > keep_) remove(newest->second);
    }
    for (const std::filesystem::path& partial : partials()) remove(partial);
  }

  /// The newest checkpoint that is whole, or none where none was saved; damaged ones are told to the log.
  ///
  /// Errors: FileError and VersionError for a newer one that cannot be read, as it may be whole; DataError where all
  /// are damaged.
  std::optional<Checkpoint> latest(const Log& log = {}) const {
    const auto found = checkpoints();
    for (auto newest = found.rbegin(); newest != found.rend(); ++newest) {
      try {
        return std::optional<Checkpoint>(std::in_place, newest->second);
      } catch (const VersionError&) {
        throw;
      } catch (const DataError& damaged) {
        if (log) log(damaged.what());
      }
    }
    if (found.empty()) return std::nullopt;
    refuse<DataError>("CheckpointFolder", folder_.string(), "a checkpoint that is whole",
                      str(found.size(), " damaged: remove them to begin anew"));
  }

  /// Removes every checkpoint, once a run is over.
  void clear() const {
    for (const auto& [step, path] : checkpoints()) remove(path);
    for (const std::filesystem::path& partial : partials()) remove(partial);
  }

 private:
  static constexpr std::string_view stem = "checkpoint-", suffix = ".safetensors";

  /// By step.
  std::map<std::uint64_t, std::filesystem::path> checkpoints() const {
    std::map<std::uint64_t, std::filesystem::path> found;
    for (const auto& [name, path] : files()) {
      if (!name.ends_with(suffix)) continue;
      const std::string_view digits =
          std::string_view(name).substr(stem.size(), name.size() - stem.size() - suffix.size());
      std::uint64_t step = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
      if (error == std::errc{} && end == digits.data() + digits.size()) found.emplace(step, path);
    }
    return found;
  }

  std::vector<std::filesystem::path> partials() const {
    std::vector<std::filesystem::path> found;
    for (const auto& [name, path] : files()) {
      if (name.find(".partial") != std::string::npos) found.push_back(path);
    }
    return found;
  }

  std::map<std::string, std::filesystem::path> files() const {
    std::map<std::string, std::filesystem::path> found;
    std::error_code refused;
    std::filesystem::directory_iterator entry(folder_, refused);
    while (!refused && entry != std::filesystem::directory_iterator{}) {
      std::string name = entry->path().filename().string();
      if (name.starts_with(stem)) found.emplace(std::move(name), entry->path());
      entry.increment(refused);
    }
    if (refused) {
      refuse<FileError>("CheckpointFolder", folder_.string(), "a readable folder", str('"', refused.message(), '"'));
    }
    return found;
  }

  static void remove(const std::filesystem::path& path) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }

  std::filesystem::path folder_;
  std::size_t keep_;
};

}  // namespace patchdiff
