// SPDX-License-Identifier: Apache-2.0
// A small training run, the same for any backend and number of processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/trainer.hpp>

namespace patchdiff {

/// 37 images of noise, of three classes.
struct NoiseImages {
  std::int64_t size() const { return 37; }
  ImageShape shape() const { return {1, 8, 8}; }
  std::int64_t class_count() const { return 3; }
  std::int64_t label(std::int64_t index) const { return index % 3; }
  void read(std::int64_t index, std::span<float> out) const {
    RandomStream({7}, Purpose::data_order, 0, static_cast<std::uint64_t>(index)).normals(out);
  }
};

/// Patches of 2, 4 and 8 pixels from steps of 20, 10 and 5 images, with labels that are dropped, mirrored images,
/// clipped gradients and dropout where the network has it.
template <class Net>
struct SmallTraining {
  using B = typename Net::Backend;

  DenoiserWrapper<Net> denoiser;
  Adam<B> adam{{.learning_rate = 2e-3}};
  TrainState state{.seed = 9};
  NoiseImages images{};
  Loader<B, NoiseImages> loader{images, denoiser.device(), {.seed = 9, .augmentation = {.x_flip = true}}};

  explicit SmallTraining(Net net) : denoiser(std::move(net), {.image = {1, 8, 8}}) { adam.prepare(denoiser); }

  static TrainerOptions options() {
    return {.step = {.schedule = PatchSizeSchedule::stochastic({.image = {8, 8}, .size_divisor = 2}),
                     .batch = 5,
                     .label_dropout = 0.2,
                     .max_gradient_norm = 1},
            .micro_batch = 2};
  }

  /// Trains up to that step; the losses.
  template <class Processes>
  std::vector<double> train(std::uint64_t steps, Processes& processes) {
    Trainer trainer(denoiser, adam, loader, state, options(), processes);
    std::vector<double> losses;
    while (state.step < steps) losses.push_back(trainer.step().loss());
    return losses;
  }

  std::map<std::string, std::vector<double>> weights() {
    std::map<std::string, std::vector<double>> all;
    denoiser.visit_state(
        [&](std::string_view name, typename B::Tensor& value) { all[std::string(name)] = B::to_host(value); });
    return all;
  }
};

/// What a run ends with, as a file: lines of a name and numbers.
using RunResult = std::map<std::string, std::vector<double>>;

template <class Net>
RunResult result_of(SmallTraining<Net>& run, std::vector<double> losses) {
  RunResult result = run.weights();
  result["losses"] = std::move(losses);
  return result;
}

inline void write_result(const std::string& path, const RunResult& result) {
  std::ofstream file(path);
  for (const auto& [name, values] : result) file << fmt::format("{} {}\n", name, fmt::join(values, " "));
}

inline RunResult read_result(const std::string& path) {
  RunResult result;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    std::vector<double>& values = result[name];
    for (double value = 0; words >> value;) values.push_back(value);
  }
  return result;
}

}  // namespace patchdiff
