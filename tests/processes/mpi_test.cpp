// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/training/one_process.hpp>

#include "processes/compare_results.hpp"
#include "processes/run_processes.hpp"
#include "processes/small_network.hpp"
#include "processes/small_training.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

/// Runs a scenario of mpi_worker to its end.
Finished run_mpi(int processes, const TemporaryFolder& folder, const std::vector<std::string>& scenario,
                 const std::string& timeout = "60") {
  std::vector<std::string> program{PATCHDIFF_MPI_WORKER, timeout, folder.path().string()};
  program.insert(program.end(), scenario.begin(), scenario.end());
  Finished finished = ChildProcess(mpirun(processes, program)).wait();
  INFO(finished.err);
  REQUIRE(finished.code == 0);
  return finished;
}

template <class Scalar>
void check_any_number_of_processes(const std::string& scenario) {
  constexpr std::uint64_t steps = 50;
  SmallTraining<SmallUNet<Scalar>> run(small_network<Scalar>());
  const OneProcess alone;
  const RunResult expected = result_of(run, run.train(steps, alone));
  for (const int processes : {1, 2, 4}) {
    const TemporaryFolder folder;
    run_mpi(processes, folder, {scenario, fmt::format("{}", steps)});
    for (int rank = 0; rank < processes; ++rank) {
      INFO(fmt::format("process {} of {}", rank, processes));
      const RunResult result = read_result(folder / fmt::format("result.{}", rank));
      check_same_run(result, expected, sizeof(Scalar) == 8);
      CHECK(result == read_result(folder / "result.0"));
    }
  }
}

TEST_CASE("one, two and four processes train the same weights, by MPI in float64") {
  check_any_number_of_processes<double>("train");
}

TEST_CASE("one, two and four processes have the same losses, by MPI in float32") {
  check_any_number_of_processes<float>("train_float");
}

}  // namespace
}  // namespace patchdiff
