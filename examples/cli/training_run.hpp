// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <vector>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/io/checkpoint_folder.hpp>
#include <patchdiff/io/csv_log.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>

#include "model.hpp"
#include "progress.hpp"
#include "settings.hpp"
#include "stop_signal.hpp"

/// How long to train: a number of images, or as many as fit into some minutes.
struct TrainingLength {
  std::optional<std::uint64_t> images{};
  double minutes = 0;
};

/// What a run goes on from, and where and when it keeps that.
struct Resuming {
  patchdiff::CheckpointFolder folder;
  std::uint64_t every = 0;  ///< steps between checkpoints
  patchdiff::Checkpoint::Settings settings{};
  std::optional<patchdiff::Checkpoint> from{};
};

/// What a run leaves behind.
struct TrainingResult {
  Denoiser averaged;
  std::uint64_t images = 0;
  bool stopped = false;             ///< whether the signal ended it
  std::exception_ptr log_failed{};  ///< why the log could not be written, which ends a run too
};

/// One run of training, from a model as it is.
class TrainingRun {
 public:
  /// Errors: ConfigError for settings that cannot work.
  TrainingRun(const patchdiff::ArrayDataset& data, TrainingSettings settings, Denoiser& denoiser);

  /// Trains until the length is reached, the signal comes or the log cannot be written; a stopped run leaves a
  /// checkpoint.
  ///
  /// Errors: NumericError for a loss or gradient that is not finite; FileError and DataError of checkpoints.
  TrainingResult operator()(Denoiser denoiser, const TrainingLength& length, const Resuming& resuming,
                            patchdiff::CsvLog& log, Progress& progress, const StopSignal& stop) const;

 private:
  patchdiff::PatchSizeSchedule schedule(std::uint64_t total) const;

  const patchdiff::ArrayDataset* data_;
  TrainingSettings settings_;
  std::int64_t size_divisor_;
};
