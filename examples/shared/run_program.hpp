// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <exception>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

inline void add_threads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads, "threads to compute with")->check(CLI::PositiveNumber);
}

/// What `main` returns: reads the command line into what the options stand for, then runs. Help shows the options'
/// defaults; an error becomes a line on standard error.
template <class F>
int run_program(CLI::App& app, int argc, char** argv, const F& run) {
  try {
    for (CLI::Option* option : app.get_options()) {
      if (option->get_default_str().empty()) option->capture_default_str();
    }
    app.parse(argc, argv);
    run();
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", app.get_name(), error.what());
    return 1;
  }
}
