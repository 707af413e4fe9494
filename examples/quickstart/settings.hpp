// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/precision.hpp>

#include "shared/fashion_mnist.hpp"
#include "shared/run_program.hpp"

/// What the quick start's command line says.
struct Settings {
  std::filesystem::path data = fashion_mnist_folder, out = "quickstart-out";
  double minutes = 5;
  int threads = 2;
  std::uint64_t seed = 1;
  patchdiff::Precision precision = patchdiff::Precision::bfloat16;
  std::string device = "cpu";
};

inline void add_options(CLI::App& app, Settings& settings) {
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's four IDX files");
  app.add_option("--out", settings.out, "folder for samples.png, loss.csv and model.safetensors");
  app.add_option("--minutes", settings.minutes, "time to train for")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  app.add_option("--seed", settings.seed, "seed of every random draw");
  app.add_option("--precision", settings.precision, "of convolutions; bfloat16 where the processor has it")
      ->transform(CLI::CheckedTransformer(patchdiff::values_by_name<patchdiff::Precision>()))
      ->default_str(std::string(name_of(settings.precision)));
  app.add_option("--device", settings.device, "cpu or cuda");
}
