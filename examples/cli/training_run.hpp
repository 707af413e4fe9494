// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <vector>

#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/io/checkpoint_folder.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>

#include "model.hpp"
#include "progress.hpp"
#include "run_logs.hpp"
#include "run_processes.hpp"
#include "settings.hpp"
#include "stop_signal.hpp"

/// How long to train: a number of images, or as many as fit into some minutes; of a run that goes on, both are known.
struct TrainingLength {
  std::optional<std::uint64_t> images{};
  double minutes = 0;  ///< 0: as the images say
};

/// What a run goes on from, and where and when it keeps that.
struct Resuming {
  patchdiff::CheckpointFolder folder;
  std::uint64_t every = 0;  ///< steps between checkpoints
  patchdiff::Checkpoint::Settings settings{};
  std::optional<patchdiff::Checkpoint> from{};
};

/// What the process that leads a run writes and shows of it.
struct RunOutput {
  RunLogs logs;
  Progress progress{};
};

/// What a run leaves behind.
struct TrainingResult {
  Denoiser averaged;
  std::uint64_t images = 0;
  bool stopped = false;             ///< whether the signal ended it
  std::exception_ptr log_failed{};  ///< why the log could not be written, which ends a run too
};

/// What training on patches of a size takes, as measured.
struct PatchCost {
  patchdiff::ImageSize patch{};
  double time = 0;         ///< of an image, as a share of a full one's
  std::int64_t bytes = 0;  ///< of tensors in a step, at most
};

/// How many times the images of training on full ones a mixture sees in the same time.
struct SpeedUp {
  double full_image_probability = 0;
  double images = 1;
};

/// What a run would take.
struct TrainingEstimate {
  std::uint64_t images = 0;
  double seconds = 0;
  std::vector<PatchCost> patches{};
  std::vector<SpeedUp> speed_ups{};
};

/// One run of training, from a model as it is.
class TrainingRun {
 public:
  /// The images must outlive this. Errors: ConfigError for settings that cannot work.
  TrainingRun(const patchdiff::AnyDataset& images, TrainingSettings settings, ReadingSettings reading,
              Denoiser& denoiser);

  /// Takes a few steps of each patch size and tells what the run would take, and others of fewer full images.
  TrainingEstimate estimate(const Denoiser& denoiser, const TrainingLength& length) const;

  /// Trains until the length is reached, the signal comes or the log cannot be written; a stopped run leaves a
  /// checkpoint.
  ///
  /// Several processes share each step. The one that leads them has the output, the others have none; it alone keeps
  /// checkpoints, between two steps, while the others wait for it in the next one.
  /// Errors: NumericError for a loss or gradient that is not finite; FileError and DataError of checkpoints;
  /// ProcessError.
  TrainingResult operator()(Denoiser denoiser, const TrainingLength& length, const Resuming& resuming,
                            RunOutput* output, const StopSignal& stop, RunProcesses& processes) const;

  /// An empty table of losses for the run's logs.
  patchdiff::LossTable loss_table(const Denoiser& denoiser) const;

 private:
  patchdiff::PatchSizeSchedule schedule(std::uint64_t total) const;
  patchdiff::PatchSizeSchedule schedule(std::uint64_t total, double full_image_probability) const;

  const patchdiff::AnyDataset* images_;
  TrainingSettings settings_;
  ReadingSettings reading_;
  std::int64_t size_divisor_;
};
