// SPDX-License-Identifier: Apache-2.0
// One process of a run under mpirun, without LibTorch.
//
//   mpi_worker TIMEOUT FOLDER SCENARIO [ARGUMENT...]

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/share.hpp>
#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/metrics/feature_set.hpp>
#include <patchdiff/parallel/gather.hpp>
#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/merge_features.hpp>
#include <patchdiff/parallel/mpi/mpi_process_group.hpp>
#include <patchdiff/parallel/mpi/mpi_session.hpp>
#include <patchdiff/parallel/require_equal.hpp>

#include "processes/share_tasks.hpp"
#include "processes/small_network.hpp"
#include "processes/small_training.hpp"

namespace patchdiff {
namespace {

struct Worker {
  MPIProcessGroup& group;
  std::string folder;

  std::string file(const std::string& name) const { return fmt::format("{}/{}.{}", folder, name, group.rank()); }

  /// train STEPS: weights and losses to `result.RANK`.
  template <class Scalar>
  void train(std::uint64_t steps) const {
    SmallTraining<SmallUNet<Scalar>> run(small_network<Scalar>());
    GradientSum processes(run.denoiser, group, {.bytes = 4096});
    write_result(file("result"), result_of(run, run.train(steps, processes)));
  }

  /// go_on STEPS: goes on from the checkpoint in the folder, if there is one, and leaves another.
  void go_on(std::uint64_t steps) const {
    SmallTraining<SmallUNet<double>> run(small_network<double>());
    CheckpointParts<EigenBackend<double>> parts;
    parts.add("model", run.denoiser).add("adam", run.adam);
    const std::string path = folder + "/checkpoint";
    if (std::filesystem::exists(path)) {
      const Checkpoint checkpoint(path);
      checkpoint.restore(parts);
      run.state = checkpoint.state();
    }
    require_same_start(group, run.denoiser, run.state, {});
    GradientSum processes(run.denoiser, group);
    write_result(file("result"), result_of(run, run.train(steps, processes)));
    if (group.rank() == 0) Checkpoint::save(path, parts, run.state);
  }

  /// settings NAME=VALUE RANK: that process has the setting, the others another value.
  void settings(const std::string& name, int rank) const {
    SmallTraining<SmallUNet<double>> run(small_network<double>());
    if (name == "weights" && rank == group.rank()) {
      run.denoiser.visit_state([](auto, EigenTensor<double>& value) { value.data()[0] += 1e-12; });
    }
    if (name == "state" && rank == group.rank()) run.state.images = 5;
    std::map<std::string, std::string> settings{{"batch", "5"}};
    if (name == "batch" && rank == group.rank()) settings["batch"] = "6";
    if (name == "none" && rank == group.rank()) settings.clear();
    require_same_start(group, run.denoiser, run.state, settings);
  }

  /// share: what needs no training, each process its share: images, features; gathered to `result.RANK`.
  void share() const {
    const ShareTasks tasks;
    RunResult result;
    const Share seeds = share_of(tasks.samples, group.rank(), group.size());
    for (const std::vector<double>& images : gather(group, tasks.draw(seeds), "images")) {
      result["images"].insert(result["images"].end(), images.begin(), images.end());
    }
    FeatureSet set(tasks.dimension);
    set.add(tasks.features(share_of(tasks.vectors, group.rank(), group.size())));
    result["features"] = merge_features(group, set).values();
    result["statistics"] = merge_features(group, set.statistics()).packed();
    result["any"] = {any_process(group, group.rank() == 1, "flag") ? 1.0 : 0.0,
                     any_process(group, false, "flag") ? 1.0 : 0.0};
    write_result(file("result"), result);
  }

  /// lose SIGNAL: process 1 sends itself that signal after its third step; the others say how it ends for them.
  void lose(int signal) const {
    SmallTraining<SmallUNet<double>> run(small_network<double>());
    GradientSum processes(run.denoiser, group, {.bytes = 4096});
    run.train(3, processes);
    if (group.rank() == 1) std::raise(signal);
    run.train(1000, processes);
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
  } else if (scenario == "go_on") {
    worker.go_on(std::stoull(arguments.at(4)));
  } else if (scenario == "settings") {
    worker.settings(arguments.at(4), std::stoi(arguments.at(5)));
  } else if (scenario == "share") {
    worker.share();
  } else if (scenario == "lose") {
    worker.lose(std::stoi(arguments.at(4)));
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
