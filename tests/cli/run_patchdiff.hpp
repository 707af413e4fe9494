// SPDX-License-Identifier: Apache-2.0
// The program `patchdiff` as a process.
#pragma once

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/child_process.hpp"

/// A running `patchdiff`.
class Patchdiff : public ChildProcess {
 public:
  explicit Patchdiff(const std::vector<std::string>& arguments) : ChildProcess(command(arguments)) {}

 private:
  static std::vector<std::string> command(const std::vector<std::string>& arguments) {
    std::vector<std::string> all{PATCHDIFF_PROGRAM};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
};

inline Finished run_patchdiff(const std::vector<std::string>& arguments) { return Patchdiff(arguments).wait(); }

/// The error of a run that must be refused, without the program's name before it.
inline std::string refusal(const std::vector<std::string>& arguments, int code = 1) {
  const Finished finished = run_patchdiff(arguments);
  CHECK(finished.code == code);
  CHECK(finished.out == "");
  REQUIRE(finished.err.starts_with("patchdiff: "));
  REQUIRE(finished.err.find('\n') == finished.err.size() - 1);
  return finished.err.substr(11, finished.err.size() - 12);
}
