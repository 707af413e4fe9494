// SPDX-License-Identifier: Apache-2.0
#include "run_processes.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>

#include "command_line.hpp"

#ifdef PATCHDIFF_PROGRAM_MPI
#include <patchdiff/parallel/mpi/mpi_process_group.hpp>
#include <patchdiff/parallel/mpi/mpi_session.hpp>

struct RunProcesses::Group : patchdiff::MPIProcessGroup {
  using MPIProcessGroup::MPIProcessGroup;
};

void RunProcesses::over_mpi(const char*, double timeout_seconds, const std::function<void(RunProcesses&)>& work) {
  int count = 0;
  char** words = nullptr;
  patchdiff::MPISession session(count, words);
  int rank = 0;
  try {
    RunProcesses processes(std::make_unique<Group>(timeout_seconds));
    rank = processes.rank();
    work(processes);
  } catch (const std::exception& error) {
    const std::string message = error.what();
    fmt::print(stderr, "patchdiff: process {}: {}\n", rank, message.substr(0, message.find('\n')));
    std::fflush(nullptr);
    session.abort(1);
  }
}

RunProcesses::Sum RunProcesses::start(std::span<float> values) {
  if (!group_) return {};
  return {std::make_shared<patchdiff::MPIProcessGroup::Sum>(group_->start_sum(values))};
}

RunProcesses::Sum RunProcesses::start(std::span<double> values) {
  if (!group_) return {};
  return {std::make_shared<patchdiff::MPIProcessGroup::Sum>(group_->start_sum(values))};
}

void RunProcesses::advance(Sum& sum) {
  if (group_) group_->advance(*static_cast<patchdiff::MPIProcessGroup::Sum*>(sum.inner.get()));
}

void RunProcesses::wait(Sum& sum, std::string_view what) {
  if (group_) group_->wait(*static_cast<patchdiff::MPIProcessGroup::Sum*>(sum.inner.get()), what);
}

int RunProcesses::rank() const noexcept { return group_ ? group_->rank() : 0; }
int RunProcesses::size() const noexcept { return group_ ? group_->size() : 1; }

#else

struct RunProcesses::Group {};

void RunProcesses::over_mpi(const char* component, double, const std::function<void(RunProcesses&)>&) {
  throw patchdiff::ConfigError(component, "--mpi", "a program that was built with MPI", "one without");
}

RunProcesses::Sum RunProcesses::start(std::span<float>) { return {}; }
RunProcesses::Sum RunProcesses::start(std::span<double>) { return {}; }
void RunProcesses::advance(Sum&) {}
void RunProcesses::wait(Sum&, std::string_view) {}
int RunProcesses::rank() const noexcept { return 0; }
int RunProcesses::size() const noexcept { return 1; }

#endif

RunProcesses::RunProcesses() = default;
RunProcesses::~RunProcesses() = default;
RunProcesses::RunProcesses(std::unique_ptr<Group> group) : group_(std::move(group)) {}

namespace {
constexpr double default_timeout = 600;
}

void ProcessOptions::add_to(CLI::App& command) {
  command.add_flag("--mpi", over_mpi_, "share the work among the processes that mpirun or Slurm started");
  add_value<double>(command, "--mpi-timeout",
                    "seconds after which a process that does not answer counts as lost; longer than one of them works "
                    "alone, as on samples",
                    [this](double seconds) { timeout_ = seconds; })
      ->default_str(setting_text(default_timeout));
}

void ProcessOptions::run(const char* component, const std::function<void(RunProcesses&)>& work) const {
  if (over_mpi_) return RunProcesses::over_mpi(component, timeout_.value_or(default_timeout), work);
  if (timeout_) throw patchdiff::ConfigError(component, "--mpi-timeout", "none without --mpi", setting_text(*timeout_));
  RunProcesses alone;
  work(alone);
}
