// SPDX-License-Identifier: Apache-2.0
// One process of a run by a c10d::ProcessGroup of its own, over MPI: what a host may bring on any LibTorch.
//
//   c10d_worker TIMEOUT FOLDER SCENARIO [ARGUMENT...]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <patchdiff/parallel/mpi/mpi_session.hpp>
#include <patchdiff/parallel/torch/c10d_process_group.hpp>

#include "processes/torch_scenarios.hpp"

namespace {

class HostWork : public c10d::Work {
 public:
  explicit HostWork(at::Tensor tensor) : tensor_(std::move(tensor)) {
    MPI_Iallreduce(MPI_IN_PLACE, tensor_.data_ptr(), static_cast<int>(tensor_.numel()),
                   tensor_.scalar_type() == at::kDouble ? MPI_DOUBLE : MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request_);
  }

  bool wait(std::chrono::milliseconds timeout) override {
    const auto end = std::chrono::steady_clock::now() + timeout;
    for (int done = 0; MPI_Test(&request_, &done, MPI_STATUS_IGNORE), done == 0; std::this_thread::yield()) {
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("no answer");
    }
    return true;
  }

 private:
  at::Tensor tensor_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class HostGroup : public c10d::ProcessGroup {
 public:
  using c10d::ProcessGroup::ProcessGroup;

  const std::string getBackendName() const override { return "host"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions&) override {
    return c10::make_intrusive<HostWork>(tensors.front());
  }
};

void work(const std::vector<std::string>& words) {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  patchdiff::C10dProcessGroup group(c10::make_intrusive<HostGroup>(rank, size), std::stod(words.at(1)));
  patchdiff::run_scenario(group, words.at(2), {words.begin() + 3, words.end()});
}

}  // namespace

int main(int argc, char** argv) {
  patchdiff::MPISession mpi(argc, argv);
  try {
    work({argv, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "c10d_worker: {}\n", error.what());
    std::fflush(stderr);
    mpi.abort(EXIT_FAILURE);
  }
}
