// SPDX-License-Identifier: Apache-2.0
// One process of a run by LibTorch's Gloo, whose processes find each other by a file.
//
//   gloo_worker RANK SIZE INTERFACE TIMEOUT FOLDER SCENARIO [ARGUMENT...]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <patchdiff/parallel/torch/c10d_process_group.hpp>

#include "processes/torch_scenarios.hpp"

namespace {

void work(const std::vector<std::string>& words) {
  const int rank = std::stoi(words.at(1)), size = std::stoi(words.at(2));
  const double timeout = std::stod(words.at(4));
  const std::string& folder = words.at(5);
  const auto options = c10d::ProcessGroupGloo::Options::create();
  options->devices = {c10d::ProcessGroupGloo::createDeviceForInterface(words.at(3))};
  options->timeout = std::chrono::milliseconds(static_cast<std::int64_t>(1000 * timeout));
  options->threads = 2;
  const auto store = c10::make_intrusive<c10d::FileStore>(folder + "/store", size);
  patchdiff::C10dProcessGroup group(c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options), timeout);
  patchdiff::run_scenario(group, folder, {words.begin() + 6, words.end()});
}

}  // namespace

int main(int argc, char** argv) {
  try {
    work({argv, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "gloo_worker: {}\n", error.what());
    std::fflush(stderr);
    std::_Exit(EXIT_FAILURE);  // Gloo's threads may still wait for a lost process
  }
}
