// SPDX-License-Identifier: Apache-2.0
// train and evaluate over MPI: several processes of the program work on one run.
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/run_patchdiff.hpp"
#include "cli/small_run.hpp"
#include "processes/run_processes.hpp"
#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"
#include "support/temporary_folder.hpp"

namespace fs = std::filesystem;

namespace {

std::vector<std::string> train(const fs::path& out, const std::vector<std::string>& more = {}) {
  return joined(joined({PATCHDIFF_PROGRAM, "train", "--mpi", "--data", SmallRun::get().data, "--out", out, "--batch",
                        "6", "--threads", "1", "--mpi-timeout", "60", "--checkpoint-every", "5"},
                       small_network),
                more);
}

/// The losses of a run, step by step.
std::vector<double> losses_of(const fs::path& out) {
  std::istringstream log(bytes_of(out / "loss.csv"));
  std::vector<double> losses;
  std::string line;
  std::getline(log, line);
  while (std::getline(log, line)) {
    std::istringstream values(line);
    std::string value;
    for (int column = 0; column < 4; ++column) std::getline(values, value, ',');
    losses.push_back(std::stod(value));
  }
  return losses;
}

/// The processes that a process has started, in the order of their start.
std::vector<pid_t> children_of(pid_t parent) {
  std::ifstream list("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; list >> child;) children.push_back(child);
  return children;
}

bool has_checkpoint(const fs::path& out) {
  for (const std::string& name : names_in(out)) {
    if (name.starts_with("checkpoint-") && name.find("partial") == std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("any number of processes has the same losses and writes the same files") {
  const TemporaryFolder folder;
  const auto losses = [&](int processes) {
    const fs::path out = folder / std::to_string(processes);
    const Finished finished = ChildProcess(mpirun(processes, train(out, {"--images", "300"}))).wait();
    CHECK(finished.err == "");
    REQUIRE(finished.code == 0);
    CHECK(names_in(out) == names_in(SmallRun::get().out));
    return losses_of(out);
  };
  const std::vector<double> alone = losses(1);
  REQUIRE(alone.size() > 20);
  for (const int processes : {2, 3}) {
    const std::vector<double> shared = losses(processes);
    REQUIRE(shared.size() == alone.size());
    for (std::size_t step = 0; step < alone.size(); ++step) CHECK(shared[step] == Approx(alone[step]).epsilon(1e-3));
  }
}

TEST_CASE("a process that is lost or stalls ends the others, and the run goes on with another number of them") {
  const int signal = GENERATE(SIGKILL, SIGSTOP);
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  {
    ChildProcess job(mpirun(2, train(out, {"--images", "100000", "--mpi-timeout", "2"})));
    REQUIRE(job.wait_for("images/s"));
    while (!has_checkpoint(out)) std::this_thread::yield();
    const std::vector<pid_t> ranks = children_of(job.id());
    REQUIRE(ranks.size() == 2);
    ::kill(ranks[1], signal);
    const Finished lost = job.wait();
    CHECK(lost.code != 0);
    if (signal == SIGSTOP) {
      CHECK_THAT(lost.err, ContainsSubstring("patchdiff: process 0: MPIProcessGroup: ") &&
                               ContainsSubstring("expected an answer of all 2 processes within 2 s, got none\n"));
    }
    CHECK_FALSE(fs::exists(out / "model.safetensors"));
  }
  ChildProcess alone(train(out, {"--images", "100000", "--resume"}));
  REQUIRE(alone.wait_for("resuming after step "));
  REQUIRE(alone.wait_for("images/s"));
  alone.signal(SIGTERM);
  const Finished stopped = alone.wait();
  CHECK(stopped.code == 0);
  CHECK_THAT(stopped.out, ContainsSubstring(" --resume --mpi\n"));
}

TEST_CASE("processes that are asked to end stop after the same step and keep everything") {
  const TemporaryFolder folder;
  const fs::path out = folder / "out";
  ChildProcess job(mpirun(2, train(out, {"--images", "100000"})));
  REQUIRE(job.wait_for("images/s"));
  for (const pid_t rank : children_of(job.id())) ::kill(rank, SIGTERM);
  const Finished stopped = job.wait();
  CHECK(stopped.code == 0);
  CHECK(stopped.err == "");
  CHECK_THAT(stopped.out, ContainsSubstring("stopped early; go on with: patchdiff train --config "));
  CHECK(has_checkpoint(out));
  CHECK(fs::exists(out / "model.safetensors"));
}

TEST_CASE("processes with other settings or other data than the first one are refused") {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::vector<std::string>& of_the_second) {
    std::vector<std::string> command = mpirun(1, train(folder / "out", {"--images", "100"}));
    const std::vector<std::string> second = joined(train(folder / "out", {"--images", "100"}), of_the_second);
    command.insert(command.end(), {":", "-n", "1"});
    command.insert(command.end(), second.begin(), second.end());
    const Finished refused = ChildProcess(std::move(command)).wait();
    CHECK(refused.code != 0);
    fs::remove_all(folder / "out");
    return refused.err;
  };
  CHECK_THAT(
      refusal({"--learning-rate", "0.5"}),
      ContainsSubstring(": run: learning_rate: expected \"0.002\", as on process 0, got \"0.5\" on process 1\n"));
  CHECK_THAT(refusal({"--data", write_small_data(folder / "other", 90)}),
             ContainsSubstring(": run: data: expected \"120 images of ") && ContainsSubstring("got \"90 images of "));
}

TEST_CASE("processes that share an evaluation find the figures of one") {
  const SmallRun& small = SmallRun::get();
  const TemporaryFolder folder;
  const auto figures = [&](int processes) {
    const fs::path out = folder / (std::to_string(processes) + ".json");
    const Finished finished =
        ChildProcess(mpirun(processes, {PATCHDIFF_PROGRAM, "evaluate", "--mpi", "--data", small.data, "--model",
                                        small.model, "--count", "101", "--steps", "2", "--threads", "1", "--out", out}))
            .wait();
    REQUIRE(finished.code == 0);
    CHECK_THAT(finished.out, ContainsSubstring("samples"));
    return nlohmann::json::parse(bytes_of(out)).at("judged");
  };
  const nlohmann::json alone = figures(1), shared = figures(2);
  REQUIRE(alone.size() == 2);
  for (const char* metric : {"frechet_distance", "kernel_distance"}) {
    for (std::size_t kind = 0; kind < alone.size(); ++kind) {
      CAPTURE(metric, kind, alone[kind].dump());
      const auto value = [&](const nlohmann::json& judged) {
        return judged[kind].at(metric).at("value").get<double>();
      };
      CHECK(value(shared) == Approx(value(alone)).epsilon(1e-3));
    }
  }
}
