// SPDX-License-Identifier: Apache-2.0
// The table of a run's losses: what is read back from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <patchdiff/io/atomic_file.hpp>

#include "loss_picture.hpp"
#include "setting_text.hpp"

inline const std::vector<std::string> loss_columns{"step", "images", "patch", "loss", "seconds"};

/// Takes the steps after `step` out of a log, as a run that goes on from there writes them again.
///
/// Errors: FileError; the log is as before then.
inline void cut_loss_log(const std::filesystem::path& path, std::uint64_t step) {
  std::ifstream log(path, std::ios::binary);
  if (!log) return;
  std::string kept, line;
  for (bool header = true; std::getline(log, line) && !log.eof(); header = false) {
    if (header || number_of<std::uint64_t>(parts_of(line).front()).value_or(step + 1) <= step) kept += line + '\n';
  }
  patchdiff::AtomicFile file(path, "train");
  file.write(kept);
  file.commit();
}

/// Every whole line of a log.
inline std::vector<LossPoint> read_loss_log(const std::filesystem::path& path) {
  std::ifstream log(path, std::ios::binary);
  std::vector<LossPoint> points;
  for (std::string line; std::getline(log, line) && !log.eof();) {
    const std::vector<std::string> values = parts_of(line);
    if (values.size() != loss_columns.size()) continue;
    const auto images = number_of<std::uint64_t>(values[1]);
    const auto loss = number_of<double>(values[3]);
    if (images && loss) points.push_back({*images, *loss});
  }
  return points;
}
