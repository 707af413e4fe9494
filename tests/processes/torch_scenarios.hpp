// SPDX-License-Identifier: Apache-2.0
// What one process does in a run on LibTorch, by any process group.
#pragma once

#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <patchdiff/parallel/gather.hpp>
#include <patchdiff/parallel/gradient_sum.hpp>
#include <patchdiff/parallel/torch/autograd_sum.hpp>
#include <patchdiff/parallel/torch/torch_buffer.hpp>

#include "processes/small_training.hpp"
#include "processes/torch_network.hpp"

namespace patchdiff {

/// train TYPE STEPS, or train_overlapped: weights and losses to `result.RANK` in the folder. lose SIGNAL: process 1
/// sends itself that signal after its third step.
template <class G>
void run_scenario(G& group, const std::string& folder, const std::vector<std::string>& words) {
  at::set_num_threads(1);
  const bool wide = words.at(1) == "float64";
  SmallTraining<SongUNet> run(torch_network(wide ? at::kDouble : at::kFloat));
  const auto train = [&](auto&& processes) {
    const std::string path = fmt::format("{}/result.{}", folder, group.rank());
    write_result(path, result_of(run, run.train(std::stoull(words.at(2)), processes)));
  };
  if (words.front() == "train") {
    train(GradientSum(run.denoiser, group, {.bytes = 8192}));
  } else if (words.front() == "train_overlapped") {
    train(AutogradSum(run.denoiser, group, {.bytes = 8192}));
  } else if (words.front() == "lose") {
    AutogradSum processes(run.denoiser, group, {.bytes = 8192});
    run.train(3, processes);
    if (group.rank() == 1) std::raise(std::stoi(words.at(1)));
    run.train(1000, processes);
  } else {
    throw std::invalid_argument(words.front());
  }
  // No process leaves while others still wait for it.
  any_process(group, false, "end");
}

}  // namespace patchdiff
