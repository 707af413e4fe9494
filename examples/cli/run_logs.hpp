// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include <patchdiff/core/train_state.hpp>
#include <patchdiff/io/csv_log.hpp>
#include <patchdiff/io/json_lines_log.hpp>
#include <patchdiff/io/picture.hpp>
#include <patchdiff/io/tensorboard_log.hpp>
#include <patchdiff/training/loss_table.hpp>
#include <patchdiff/training/step_report.hpp>

#include "loss_log.hpp"
#include "model.hpp"
#include "run_folder.hpp"
#include "settings.hpp"

/// What a run writes down while it goes: the loss of every step, losses by noise level and patch size, and what the
/// settings add to that. A run that is resumed goes on in the same files.
///
/// Errors: FileError, after which each file ends with its last whole record.
class RunLogs {
 public:
  using Draw = std::function<patchdiff::Picture(const Denoiser&)>;

  /// `step`: the one that the run goes on from, 0 for a new one; what the files hold of later steps is taken out.
  RunLogs(const RunFolder& folder, const LogSettings& settings, patchdiff::LossTable table, Draw draw,
          std::uint64_t step);

  /// Notes a step that took the run to `state`; `seconds` since its start.
  void add(const patchdiff::StepReport<B>& report, const patchdiff::TrainState& state, double learning_rate,
           double seconds);

  /// Writes the losses by noise level since the last time, and waits until all logs are on the disk; to be called just
  /// before a checkpoint, and at the end.
  void write_table(const patchdiff::TrainState& state);

  /// Whether samples are to be drawn after that step.
  bool wants_samples(std::uint64_t step) const noexcept {
    return settings_.samples_every > 0 && step % static_cast<std::uint64_t>(settings_.samples_every) == 0;
  }

  /// Draws samples of a model into `samples-STEP.png`.
  void add_samples(const Denoiser& averaged, std::uint64_t step);

 private:
  std::filesystem::path folder_;
  LogSettings settings_;
  patchdiff::LossTable table_;
  Draw draw_;
  patchdiff::CsvLog losses_, losses_by_sigma_;
  std::optional<patchdiff::JsonLinesLog> json_lines_{};
  std::optional<patchdiff::TensorBoardLog> tensorboard_{};
};
