// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include "command_line.hpp"

/// One of the program's commands: its options, and what it does once they are read.
struct Command {
  CLI::App* app;
  std::function<void()> run;
};

Command train_command(CLI::App& program);
Command sample_command(CLI::App& program);
Command evaluate_command(CLI::App& program);
Command features_command(CLI::App& program);
Command info_command(CLI::App& program);

/// Errors: UsageError for an option that must be given and is not.
inline void require_given(const CLI::App& command, std::string_view option) {
  const CLI::Option* given = command.get_option(std::string(option));
  if (given->count() > 0) return;
  throw UsageError(command.get_name(), option, given->get_description(), "none");
}
