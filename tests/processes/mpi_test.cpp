// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/share.hpp>
#include <patchdiff/metrics/feature_set.hpp>
#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/single_process.hpp>
#include <patchdiff/training/one_process.hpp>

#include "processes/compare_results.hpp"
#include "processes/run_processes.hpp"
#include "processes/share_tasks.hpp"
#include "processes/small_network.hpp"
#include "processes/small_training.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

std::vector<std::string> worker(const std::string& timeout, const TemporaryFolder& folder,
                                const std::vector<std::string>& scenario) {
  std::vector<std::string> program{PATCHDIFF_MPI_WORKER, timeout, folder.path().string()};
  program.insert(program.end(), scenario.begin(), scenario.end());
  return program;
}

/// Runs a scenario of mpi_worker to its end.
void run_mpi(int processes, const TemporaryFolder& folder, const std::vector<std::string>& scenario) {
  const Finished finished = ChildProcess(mpirun(processes, worker("60", folder, scenario))).wait();
  INFO(finished.err);
  REQUIRE(finished.code == 0);
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

TEST_CASE("a run goes on with another number of processes") {
  SmallTraining<SmallUNet<double>> run(small_network<double>());
  const OneProcess alone;
  run.train(35, alone);
  const RunResult expected = result_of(run, run.train(50, alone));
  const TemporaryFolder folder;
  run_mpi(4, folder, {"go_on", "20"});
  run_mpi(2, folder, {"go_on", "35"});
  run_mpi(1, folder, {"go_on", "50"});
  check_same_run(read_result(folder / "result.0"), expected, true);
}

TEST_CASE("processes that do not begin alike say which differs in what") {
  const TemporaryFolder folder;
  const auto error_of = [&](const std::string& setting) {
    const Finished finished = ChildProcess(mpirun(3, worker("60", folder, {"settings", setting, "2"}))).wait();
    CHECK(finished.code != 0);
    return finished.err;
  };
  CHECK_THAT(error_of("batch"),
             ContainsSubstring("run: batch: expected \"5\", as on process 0, got \"6\" on process 2"));
  CHECK_THAT(error_of("none"), ContainsSubstring("run: batch: expected \"5\", as on process 0, got none on process 2"));
  CHECK_THAT(error_of("state"),
             ContainsSubstring("run: state.images: expected \"0\", as on process 0, got \"5\" on process 2"));
  CHECK_THAT(error_of("weights"), ContainsSubstring("run: weights.") && ContainsSubstring("on process 2"));
  run_mpi(3, folder, {"settings", "", "2"});
}

TEST_CASE("images and features that processes share are those of one process") {
  const ShareTasks tasks;
  FeatureSet features(tasks.dimension);
  features.add(tasks.features({0, tasks.vectors}));
  const std::vector<double> statistics = features.statistics().packed();
  for (const int processes : {1, 2, 4}) {
    const TemporaryFolder folder;
    run_mpi(processes, folder, {"share"});
    for (int rank = 0; rank < processes; ++rank) {
      const RunResult result = read_result(folder / fmt::format("result.{}", rank));
      CHECK(result.at("images") == tasks.draw({0, tasks.samples}));
      CHECK(result.at("features") == features.values());
      CHECK(relative_difference(result.at("statistics"), statistics) < 1e-14);
      CHECK(result.at("any") == std::vector<double>{processes > 1 ? 1.0 : 0.0, 0.0});
    }
  }
}

/// What is left of a job whose process 1 sends itself a signal, of mpirun with that option.
Finished lose(int signal, const char* option) {
  const TemporaryFolder folder;
  std::vector<std::string> command = mpirun(3, worker("5", folder, {"lose", fmt::format("{}", signal)}));
  command.insert(std::find(command.begin(), command.end(), "mpirun") + 1, option);
  return ChildProcess(command).wait();
}

TEST_CASE("a lost process ends the others within the time-out, with an error that says so") {
  const auto check_error = [](const std::string& error) {
    CHECK_THAT(error, ContainsSubstring("mpi_worker: MPIProcessGroup: sum of gradients, message 1 of "));
    CHECK_THAT(error, ContainsSubstring(": expected an answer of all 3 processes within 5 s, got none"));
  };
  SECTION("stalled") {
    const Finished finished = lose(SIGSTOP, "--quiet");
    CHECK(finished.code != 0);
    check_error(finished.err);
  }
  SECTION("killed") { CHECK(lose(SIGKILL, "--quiet").code != 0); }
  SECTION("killed, and mpirun leaves the rest to the others") { check_error(lose(SIGKILL, "--enable-recovery").err); }
}

TEST_CASE("a time-out may be as long as a clock can count, and no longer") {
  const TemporaryFolder folder;
  const auto run = [&](const char* timeout) {
    return ChildProcess(mpirun(1, worker(timeout, folder, {"share"}))).wait();
  };
  const Finished refused = run("1e10");
  CHECK(refused.code != 0);
  CHECK_THAT(refused.err, ContainsSubstring("MPIProcessGroup: timeout_seconds: expected a value > 0 and at most 1e9"));
  CHECK(run("1e9").code == 0);
}

/// One step of a process with its host's own loop.
template <class D, class O, class Loader, class G>
StepReport<EigenBackend<double>> shared_step(D& denoiser, O& optimizer, Loader& loader, TrainState& state,
                                             const TrainStep<EigenBackend<double>>& step, G& group) {
  GradientSum processes(denoiser, group);
  const PatchPlan plan = step.plan(state);
  const Share share = processes.share(plan);
  zero_gradients(denoiser);
  auto report = step.gradients(denoiser, loader.take(plan, share.first, share.count), plan);
  processes.finish(step, report);
  step.update(denoiser, optimizer, report, state);
  return report;
}

TEST_CASE("a host's own loop with a group of one takes the Trainer's steps") {
  SmallTraining<SmallUNet<double>> run(small_network<double>()), by_hand(small_network<double>());
  const OneProcess alone;
  const std::vector<double> losses = run.train(4, alone);
  TrainerOptions options = run.options();
  const TrainStep<EigenBackend<double>> step(options.step);
  SingleProcess group;
  for (const double loss : losses) {
    const auto report = shared_step(by_hand.denoiser, by_hand.adam, by_hand.loader, by_hand.state, step, group);
    CHECK(report.loss() == Approx(loss).epsilon(1e-10));
  }
  CHECK(by_hand.state == run.state);
}

}  // namespace
}  // namespace patchdiff
