// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <exception>

#include <mpi.h>

#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// MPI for as long as this lives: one at the beginning of `main`, outside of its `try`.
///
/// Where it ends by an exception, it ends all processes of the job, since the others would wait for this one. A program
/// that wants to say why catches the exception, prints it and calls `abort`.
class MPISession {
 public:
  /// Errors: ConfigError for an MPI that threads cannot call in turn, as LibTorch's backward does.
  MPISession(int& argc, char**& argv) {
    int provided = MPI_THREAD_SINGLE;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
    if (provided < MPI_THREAD_SERIALIZED) {
      MPI_Finalize();
      refuse<ConfigError>("MPISession", "MPI_Init_thread", "MPI_THREAD_SERIALIZED", "less");
    }
  }

  MPISession(const MPISession&) = delete;
  MPISession& operator=(const MPISession&) = delete;

  ~MPISession() {
    if (std::uncaught_exceptions() > exceptions_) {
      MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    } else {
      MPI_Finalize();
    }
  }

  /// Ends all processes of the job; flush what was printed before.
  [[noreturn]] void abort(int status) {
    MPI_Abort(MPI_COMM_WORLD, status);
    std::_Exit(status);
  }

 private:
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace patchdiff
