// SPDX-License-Identifier: Apache-2.0
// One process of a run under mpirun, without LibTorch.
//
//   mpi_worker TIMEOUT FOLDER SCENARIO [ARGUMENT...]

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/mpi/mpi_process_group.hpp>
#include <patchdiff/parallel/mpi/mpi_session.hpp>

#include "processes/small_network.hpp"
#include "processes/small_training.hpp"

namespace patchdiff {
namespace {

struct Worker {
  MPIProcessGroup& group;
  std::string folder;

  std::string file(const std::string& name) const { return fmt::format("{}/{}.{}", folder, name, group.rank()); }

  /// train STEPS: writes weights and losses to `result.RANK`.
  template <class Scalar>
  void train(std::uint64_t steps) const {
    SmallTraining<SmallUNet<Scalar>> run(small_network<Scalar>());
    GradientSum processes(run.denoiser, group, {.bytes = 4096});
    write_result(file("result"), result_of(run, run.train(steps, processes)));
  }
};

void work(const std::vector<std::string>& arguments) {
  MPIProcessGroup group(std::stod(arguments.at(1)));
  const Worker worker{group, arguments.at(2)};
  const std::string& scenario = arguments.at(3);
  if (scenario == "train") {
    worker.train<double>(std::stoull(arguments.at(4)));
  } else if (scenario == "train_float") {
    worker.train<float>(std::stoull(arguments.at(4)));
  } else {
    throw std::invalid_argument(scenario);
  }
}

}  // namespace
}  // namespace patchdiff

int main(int argc, char** argv) {
  patchdiff::MPISession mpi(argc, argv);
  try {
    patchdiff::work({argv, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "mpi_worker: {}\n", error.what());
    std::fflush(stderr);
    mpi.abort(EXIT_FAILURE);
  }
}
