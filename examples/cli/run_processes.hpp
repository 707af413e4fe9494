// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include <CLI/CLI.hpp>

#include <patchdiff/parallel/process_group.hpp>

/// The processes that work on one run: this one alone, or all that `mpirun` or Slurm started.
class RunProcesses {
 public:
  struct Sum {
    std::shared_ptr<void> inner{};
  };

  /// This process alone.
  RunProcesses();
  ~RunProcesses();

  /// Runs `work(processes)` over MPI, whose sums wait for so many seconds.
  ///
  /// An exception of one process is printed and ends them all. Errors: ConfigError for a time-out that cannot work,
  /// and, as of `component`, for a program that was built without MPI.
  static void over_mpi(const char* component, double timeout_seconds, const std::function<void(RunProcesses&)>& work);

  int rank() const noexcept;
  int size() const noexcept;

  /// Whether this is the process that writes and prints.
  bool leads() const noexcept { return rank() == 0; }

  template <std::floating_point Scalar>
  Sum start_sum(std::span<Scalar> values) {
    return start(values);
  }
  void advance(Sum& sum);
  void wait(Sum& sum, std::string_view what);

 private:
  struct Group;

  explicit RunProcesses(std::unique_ptr<Group> group);
  Sum start(std::span<float> values);
  Sum start(std::span<double> values);

  std::unique_ptr<Group> group_;
};

static_assert(patchdiff::ProcessGroup<RunProcesses>);

/// A command's options of whether its work is shared among processes.
class ProcessOptions {
 public:
  /// Adds `--mpi` and `--mpi-timeout`; this must outlive the command.
  void add_to(CLI::App& command);

  bool over_mpi() const noexcept { return over_mpi_; }

  /// Runs `work(processes)` as the command line says. Errors: as of RunProcesses; ConfigError for a time-out
  /// without `--mpi`.
  void run(const char* component, const std::function<void(RunProcesses&)>& work) const;

 private:
  bool over_mpi_ = false;
  std::optional<double> timeout_{};
};
