// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/describe.hpp>

#include "commands.hpp"
#include "model.hpp"
#include "setting_text.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* component = "info";

/// Every setting with its description; those that hold others as a section of their own, behind the rest.
template <pd::Described Options>
void print_settings(std::string_view title, const Options& options) {
  fmt::print("\n{}\n", title);
  pd::describe(options, [](std::string_view key, const auto& value, std::string_view help) {
    if constexpr (!pd::Described<std::remove_cvref_t<decltype(value)>>) {
      fmt::print("  {:24} {:24} {}\n", key, setting_text(value), help);
    }
  });
  pd::describe(options, [](std::string_view, const auto& value, std::string_view help) {
    if constexpr (pd::Described<std::remove_cvref_t<decltype(value)>>) print_settings(help, value);
  });
}

/// The number of parameters of each block, in the order of the network; a block is `level.block`.
std::vector<std::pair<std::string, std::int64_t>> parameters_by_block(Denoiser& denoiser) {
  std::vector<std::pair<std::string, std::int64_t>> blocks;
  denoiser.visit_parameters([&](std::string_view name, const at::Tensor& value, const at::Tensor&) {
    std::size_t end = name.find('.');
    if (name.starts_with("enc.") || name.starts_with("dec.")) end = name.find('.', end + 1);
    const std::string block(name.substr(0, end));
    if (blocks.empty() || blocks.back().first != block) blocks.emplace_back(block, 0);
    blocks.back().second += value.numel();
  });
  return blocks;
}

void print_model(const std::string& file) {
  Model model = load_model(file, {});
  const auto blocks = parameters_by_block(model.denoiser);
  std::int64_t total = 0;
  for (const auto& [block, count] : blocks) total += count;
  model.denoiser.network().visit([&](const auto& network) {
    fmt::print("{}: {}, {} parameters{}\n", file, network.name, total,
               model.program.empty() ? "" : ", written by " + model.program);
    print_settings("network", network.options());
  });
  print_settings("denoiser", model.denoiser.options());
  print_settings("average of weights", model.denoiser.average());
  if (model.recorded) print_settings("program", model.record);
  fmt::print("\nparameters\n");
  for (const auto& [block, count] : blocks) fmt::print("  {:24} {:9}\n", block, count);
}

}  // namespace

Command info_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(component, "Tells everything that a model file holds.");
  const auto file = std::make_shared<std::string>();
  command->add_option("FILE", *file, "model file")->type_name("");
  return {command, [command, file] {
            require_given(*command, "FILE");
            print_model(*file);
          }};
}
