// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/child_process.hpp"

/// `mpirun` of that many processes of a program, on this machine, as root too.
///
/// Each computes on one thread. What a process prints comes with its rank. A job that is aborted ends at once.
inline std::vector<std::string> mpirun(int processes, std::vector<std::string> program) {
  std::vector<std::string> command{"env",
                                   "OMPI_ALLOW_RUN_AS_ROOT=1",
                                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                                   "OMPI_MCA_odls_base_sigkill_timeout=0",
                                   "OMPI_MCA_btl_vader_single_copy_mechanism=none",
                                   "OMP_NUM_THREADS=1",
                                   "mpirun",
                                   "--oversubscribe",
                                   "--bind-to",
                                   "none",
                                   "-n",
                                   fmt::format("{}", processes)};
  command.insert(command.end(), program.begin(), program.end());
  return command;
}
