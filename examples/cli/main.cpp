// SPDX-License-Identifier: Apache-2.0
// The program `patchdiff`: trains models on image patches, draws whole images, judges models and describes them.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <patchdiff/core/nearest_name.hpp>

#include "commands.hpp"
#include "config_file.hpp"

namespace {

/// An error about a word that is no option and no command, which names the nearest one.
UsageError unknown(const CLI::App& app, const std::string& word) {
  std::vector<std::string> known;
  const bool option = word.starts_with('-');
  if (option) {
    for (const CLI::Option* other : app.get_options()) known.push_back(other->get_name());
  } else {
    for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  }
  const std::string kind = option ? "option" : known.empty() ? "argument" : "command";
  const std::string expected =
      known.empty() ? "none" : fmt::format("a known {} such as {}", kind, patchdiff::nearest_name(word, known));
  return {app.get_parent() == nullptr ? "command line" : app.get_name(), kind, expected, fmt::format("\"{}\"", word)};
}

void run(CLI::App& program, const std::vector<Command>& commands, std::vector<std::string> words) {
  for (const Command& command : commands) {
    if (words.empty() || words.front() != command.app->get_name()) continue;
    words = with_config(*command.app, {words.begin() + 1, words.end()});
    words.insert(words.begin(), command.app->get_name());
    break;
  }
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  program.parse(words);
  if (const auto extra = program.remaining(); !extra.empty()) throw unknown(program, extra.front());
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    if (const auto extra = command.app->remaining(); !extra.empty()) throw unknown(*command.app, extra.front());
    return command.run();
  }
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  throw UsageError("command line", "command", fmt::format("{}", fmt::join(names, ", ")), "none");
}

constexpr const char* no_memory = "memory: expected enough for the command, got none";

/// One line on standard error; LibTorch's messages have more.
int refuse(const std::string& message, int code) {
  fmt::print(stderr, "patchdiff: {}\n", message.substr(0, message.find('\n')));
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program{"Trains diffusion models on image patches and samples whole images.", "patchdiff"};
  program.set_version_flag("--version", PATCHDIFF_VERSION);
  program.require_subcommand(0, 1);
  program.allow_extras();
  const std::vector<Command> commands{train_command(program), sample_command(program), evaluate_command(program),
                                      features_command(program), info_command(program)};
  for (const Command& command : commands) command.app->allow_extras();
  try {
    run(program, commands, {argv + 1, argv + argc});
  } catch (const CLI::Success& help) {
    return program.exit(help);
  } catch (const CLI::ParseError& error) {
    return refuse(fmt::format("command line: arguments: expected a sound command line, got \"{}\"", error.what()), 2);
  } catch (const UsageError& error) {
    return refuse(error.what(), 2);
  } catch (const std::bad_alloc&) {
    return refuse(no_memory, 1);
  } catch (const std::length_error&) {  // more than could ever be
    return refuse(no_memory, 1);
  } catch (const std::exception& error) {
    return refuse(error.what(), 1);
  }
}
