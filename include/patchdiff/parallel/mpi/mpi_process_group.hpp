// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <mpi.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// The processes of an MPI communicator, by non-blocking sums that are polled until a time-out.
///
/// Keeps to a copy of the communicator, so that messages of the host do not meet its own, and turns MPI's errors into
/// ProcessError. MPI must be initialised before and finalised after it (MPISession); calls may come from several
/// threads, one at a time. A message moves on only within calls of `start_sum`, `advance` and `wait`.
class MPIProcessGroup {
 public:
  /// A sum under way.
  class Sum {
   private:
    friend MPIProcessGroup;
    std::vector<MPI_Request> requests_{};  ///< more than one where MPI's counts of 32 bits are too small
  };

  /// Units: the time-out in seconds, > 0 and at most 1e9; every process must enter a sum within it, so it must be
  /// longer than one of them works alone, as on a checkpoint.
  /// Errors: ConfigError for a time-out that cannot work or where MPI is not initialised; ProcessError.
  explicit MPIProcessGroup(double timeout_seconds, MPI_Comm communicator = MPI_COMM_WORLD) : timeout_(timeout_seconds) {
    if (!(timeout_seconds > 0 && timeout_seconds <= 1e9)) {  // in nanoseconds a clock's 64 bits hold 9.2e9
      refuse<ConfigError>("MPIProcessGroup", "timeout_seconds", "a value > 0 and at most 1e9", str(timeout_seconds));
    }
    if (!usable()) {
      refuse<ConfigError>("MPIProcessGroup", "communicator", "MPI between MPI_Init and MPI_Finalize", "none");
    }
    MPI_Errhandler before = MPI_ERRHANDLER_NULL;
    MPI_Comm_get_errhandler(communicator, &before);
    MPI_Comm_set_errhandler(communicator, MPI_ERRORS_RETURN);
    try {
      MPI_Comm_size(communicator, &size_);
      MPI_Comm_rank(communicator, &rank_);
      std::vector<MPI_Request> request(1);
      check(MPI_Comm_idup(communicator, &communicator_, request.data()), "start of the group");
      wait(request, "start of the group");
      MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
    } catch (...) {
      restore(communicator, before);
      throw;
    }
    restore(communicator, before);
  }

  MPIProcessGroup(const MPIProcessGroup&) = delete;
  MPIProcessGroup& operator=(const MPIProcessGroup&) = delete;

  /// Leaves MPI alone after a process was lost: freeing could wait for it.
  ~MPIProcessGroup() {
    if (!failed_ && usable()) MPI_Comm_free(&communicator_);
  }

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }

  Sum start_sum(std::span<float> values) { return start(values.data(), values.size(), MPI_FLOAT); }
  Sum start_sum(std::span<double> values) { return start(values.data(), values.size(), MPI_DOUBLE); }

  /// Lets messages move on while the host computes. Errors: ProcessError.
  void advance(Sum& sum) { test(sum.requests_, "a sum"); }

  /// Errors: ProcessError where a process is lost or does not answer in time.
  void wait(Sum& sum, std::string_view what) { wait(sum.requests_, what); }

 private:
  using Clock = std::chrono::steady_clock;

  static bool usable() {
    int initialized = 0, finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    return initialized != 0 && finalized == 0;
  }

  static void restore(MPI_Comm communicator, MPI_Errhandler& handler) {
    MPI_Comm_set_errhandler(communicator, handler);
    MPI_Errhandler_free(&handler);
  }

  template <class Scalar>
  Sum start(Scalar* values, std::size_t count, MPI_Datatype type) {
    constexpr std::size_t most = std::size_t{1} << 30;
    if (failed_) {
      refuse<ProcessError>("MPIProcessGroup", "group", "one without an error", "one that a process has left");
    }
    Sum sum;
    for (std::size_t first = 0; first < count; first += most) {
      sum.requests_.push_back(MPI_REQUEST_NULL);
      check(MPI_Iallreduce(MPI_IN_PLACE, values + first, static_cast<int>(std::min(most, count - first)), type, MPI_SUM,
                           communicator_, &sum.requests_.back()),
            "start of a sum");
    }
    return sum;
  }

  /// Whether all are done.
  bool test(std::vector<MPI_Request>& requests, std::string_view what) {
    if (requests.empty()) return true;
    const int count = static_cast<int>(requests.size());
    std::vector<int> done(requests.size());
    std::vector<MPI_Status> statuses(requests.size());
    int done_count = 0;
    const int code = MPI_Testsome(count, requests.data(), &done_count, done.data(), statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (int i = 0; i < done_count; ++i) check(statuses[static_cast<std::size_t>(i)].MPI_ERROR, what);
    }
    check(code, what);
    return std::all_of(requests.begin(), requests.end(),
                       [](MPI_Request request) { return request == MPI_REQUEST_NULL; });
  }

  void wait(std::vector<MPI_Request>& requests, std::string_view what) {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout_);
    while (!test(requests, what)) {  // MPI itself yields where processes share cores
      if (Clock::now() > end) {
        fail(what, str("an answer of all ", size_, " processes within ", timeout_.count(), " s"), "none");
      }
    }
  }

  void check(int code, std::string_view what) {
    if (code == MPI_SUCCESS) return;
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(code, text.data(), &length);
    fail(what, str("an answer of all ", size_, " processes"),
         std::string_view(text.data(), static_cast<std::size_t>(length)));
  }

  [[noreturn]] void fail(std::string_view what, std::string_view expected, std::string_view got) {
    failed_ = true;
    refuse<ProcessError>("MPIProcessGroup", what, expected, got);
  }

  std::chrono::duration<double> timeout_;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  bool failed_ = false;
};

}  // namespace patchdiff
