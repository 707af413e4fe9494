// SPDX-License-Identifier: Apache-2.0
// The program `patchdiff` as a process.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "support/child_process.hpp"

/// A running `patchdiff`.
class Patchdiff : public ChildProcess {
 public:
  explicit Patchdiff(std::vector<std::string> arguments) : ChildProcess(command(std::move(arguments))) {}

 private:
  static std::vector<std::string> command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), PATCHDIFF_PROGRAM);
    return arguments;
  }
};

inline Finished run_patchdiff(std::vector<std::string> arguments) { return Patchdiff(std::move(arguments)).wait(); }
