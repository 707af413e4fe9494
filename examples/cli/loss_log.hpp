// SPDX-License-Identifier: Apache-2.0
// A run's logs, one step or more to a line: what is read back from them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/io/atomic_file.hpp>

#include "loss_picture.hpp"
#include "setting_text.hpp"

inline const std::vector<std::string> loss_columns{"step", "images", "patch", "loss", "seconds"};

/// The step that a line tells of, if it tells of one.
using StepOfLine = std::optional<std::uint64_t> (*)(const std::string& line);

inline std::optional<std::uint64_t> step_of_row(const std::string& line) {
  return number_of<std::uint64_t>(parts_of(line).front());
}

inline std::optional<std::uint64_t> step_of_object(const std::string& line) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto step = object.find("step");
  if (step == object.end() || !step->is_number_unsigned()) return std::nullopt;
  return step->get<std::uint64_t>();
}

/// Takes the steps after `step` out of a log, as a run that goes on from there writes them again.
///
/// Errors: FileError; the log is as before then.
inline void cut_log(const std::filesystem::path& path, std::uint64_t step, StepOfLine step_of) {
  std::ifstream log(path, std::ios::binary);
  if (!log) return;
  std::string kept, line;
  while (std::getline(log, line) && !log.eof()) {
    if (step_of(line).value_or(0) <= step) kept += line + '\n';
  }
  patchdiff::AtomicFile file(path, "train");
  file.write(kept);
  file.commit();
}

/// Every whole line of a table of losses.
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
