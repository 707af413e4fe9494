// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/training/one_process.hpp>

#include "processes/run_processes.hpp"
#include "processes/small_training.hpp"
#include "processes/torch_network.hpp"
#include "support/temporary_folder.hpp"
#include "support/torch_catch.hpp"

#include "processes/compare_results.hpp"

namespace patchdiff {
namespace {

Finished run_worker(int processes, const TemporaryFolder& folder, const char* timeout,
                    const std::vector<std::string>& scenario) {
  std::vector<std::string> program{PATCHDIFF_C10D_WORKER, timeout, folder.path().string()};
  program.insert(program.end(), scenario.begin(), scenario.end());
  return ChildProcess(mpirun(processes, program)).wait();
}

TEST_CASE("a host's own process group trains the same weights with any number of processes") {
  at::set_num_threads(1);
  SmallTraining<SongUNet> run(torch_network(at::kDouble));
  const OneProcess one;
  const RunResult expected = result_of(run, run.train(50, one));
  for (const int processes : {2, 4}) {
    const TemporaryFolder folder;
    const Finished finished = run_worker(processes, folder, "60", {"train_overlapped", "float64", "50"});
    INFO(finished.err);
    REQUIRE(finished.code == 0);
    for (int rank = 0; rank < processes; ++rank) {
      check_same_run(read_result(folder / fmt::format("result.{}", rank)), expected, true);
    }
  }
}

TEST_CASE("what a host's process group says of a lost process is in the error") {
  const TemporaryFolder folder;
  const Finished finished = run_worker(2, folder, "5", {"lose", fmt::format("{}", SIGSTOP)});
  CHECK(finished.code != 0);
  CHECK_THAT(finished.err, ContainsSubstring("c10d_worker: C10dProcessGroup: sum of gradients, message 1 of "));
  CHECK_THAT(finished.err, ContainsSubstring(": expected an answer of all 2 processes within 5 s, got no answer"));
}

TEST_CASE("a time-out beyond what a clock can count is refused") {
  const TemporaryFolder folder;
  const Finished finished = run_worker(1, folder, "1e10", {"train", "float64", "1"});
  CHECK(finished.code != 0);
  CHECK_THAT(finished.err, ContainsSubstring("C10dProcessGroup: timeout_seconds: expected 0.001 to 1e9"));
}

}  // namespace
}  // namespace patchdiff
