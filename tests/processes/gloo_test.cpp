// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <list>

#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/training/one_process.hpp>

#include "processes/small_training.hpp"
#include "processes/torch_network.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"
#include "support/torch_catch.hpp"

#include "processes/compare_results.hpp"

namespace patchdiff {
namespace {

using Processes = std::list<ChildProcess>;  // which stay where they are

/// Starts the processes of a job; the words before the program are those of a rank.
template <class Prefix>
void start(Processes& processes, int count, const TemporaryFolder& folder, const std::string& timeout,
           const std::vector<std::string>& scenario, const Prefix& prefix) {
  for (int rank = 0; rank < count; ++rank) {
    auto [command, interface] = prefix(rank);
    command.insert(command.end(), {PATCHDIFF_GLOO_WORKER, fmt::format("{}", rank), fmt::format("{}", count), interface,
                                   timeout, folder.path().string()});
    command.insert(command.end(), scenario.begin(), scenario.end());
    processes.emplace_back(command);
  }
}

struct Prefix {
  std::vector<std::string> command{};
  std::string interface = "lo";
};

Prefix on_this_machine(int) { return {}; }

void wait_for_success(Processes& processes) {
  for (ChildProcess& process : processes) {
    const Finished finished = process.wait();
    INFO(finished.err);
    REQUIRE(finished.code == 0);
  }
}

RunResult alone(at::ScalarType scalar, std::uint64_t steps) {
  at::set_num_threads(1);
  SmallTraining<SongUNet> run(torch_network(scalar));
  const OneProcess one;
  return result_of(run, run.train(steps, one));
}

void check_results(const TemporaryFolder& folder, int count, const RunResult& expected, bool weights) {
  for (int rank = 0; rank < count; ++rank) {
    INFO(fmt::format("process {} of {}", rank, count));
    const RunResult result = read_result(folder / fmt::format("result.{}", rank));
    check_same_run(result, expected, weights);
    CHECK(result == read_result(folder / "result.0"));
  }
}

TEST_CASE("one, two and four processes train the same weights, by Gloo in float64") {
  const RunResult expected = alone(at::kDouble, 50);
  for (const int count : {1, 2, 4}) {
    const TemporaryFolder folder;
    Processes processes;
    start(processes, count, folder, "60", {count == 2 ? "train" : "train_overlapped", "float64", "50"},
          on_this_machine);
    wait_for_success(processes);
    check_results(folder, count, expected, true);
  }
}

TEST_CASE("one, two and four processes have the same losses, by Gloo in float32") {
  const RunResult expected = alone(at::kFloat, 50);
  for (const int count : {1, 2, 4}) {
    const TemporaryFolder folder;
    Processes processes;
    start(processes, count, folder, "60", {"train_overlapped", "float32", "50"}, on_this_machine);
    wait_for_success(processes);
    check_results(folder, count, expected, false);
  }
}

TEST_CASE("a process that Gloo loses ends the others within the time-out, with an error that says so") {
  for (const int signal : {SIGKILL, SIGSTOP}) {
    const TemporaryFolder folder;
    Processes processes;
    start(processes, 3, folder, "2", {"lose", fmt::format("{}", signal)}, on_this_machine);
    int rank = 0;
    for (ChildProcess& process : processes) {
      if (rank++ == 1) continue;
      const Finished finished = process.wait();
      CHECK(finished.code == EXIT_FAILURE);
      CHECK_THAT(finished.err, ContainsSubstring("gloo_worker: C10dProcessGroup: sum of gradients, message 1 of "));
      CHECK_THAT(finished.err, ContainsSubstring(": expected an answer of all 3 processes within 2 s, got "));
    }
  }
}

/// Two network namespaces with a cable between them, if this user may make them.
class TwoNetworks {
 public:
  TwoNetworks() {
    made_ = run("netns add " + name(0)) && run("netns add " + name(1)) &&
            run(fmt::format("link add {} type veth peer name {}", cable(0), cable(1)));
    for (int end = 0; end < 2; ++end) {
      made_ = made_ && run(fmt::format("link set {} netns {}", cable(end), name(end))) &&
              run(fmt::format("-n {} address add 10.211.0.{}/24 dev {}", name(end), end + 1, cable(end))) &&
              run(fmt::format("-n {} link set {} up", name(end), cable(end)));
    }
  }
  TwoNetworks(const TwoNetworks&) = delete;
  TwoNetworks& operator=(const TwoNetworks&) = delete;
  ~TwoNetworks() {
    for (int end = 0; end < 2; ++end) run("netns delete " + name(end));
  }

  bool made() const noexcept { return made_; }
  Prefix operator()(int rank) const { return {{"ip", "netns", "exec", name(rank)}, cable(rank)}; }

 private:
  static std::string name(int end) { return fmt::format("patchdiff-{}-{}", ::getpid(), end); }
  static std::string cable(int end) { return fmt::format("pd{}-{}", ::getpid(), end); }

  static bool run(const std::string& arguments) {
    return ChildProcess({"sh", "-c", "ip " + arguments}).wait().code == 0;
  }

  bool made_ = false;
};

TEST_CASE("two processes in two networks train the same weights") {
  const TwoNetworks networks;
  if (!networks.made()) {
    WARN("skipped: network namespaces are not permitted here");
    return;
  }
  const TemporaryFolder folder;
  Processes processes;
  start(processes, 2, folder, "60", {"train_overlapped", "float64", "20"}, networks);
  wait_for_success(processes);
  check_results(folder, 2, alone(at::kDouble, 20), true);
}

}  // namespace
}  // namespace patchdiff
