// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>

/// Whether the user (Ctrl-C) or the system (SIGTERM) asks the program to end.
///
/// From its construction on, the first of each signal only sets a flag; the second one ends the program at once.
class StopSignal {
 public:
  StopSignal() {
    struct sigaction action {};
    action.sa_handler = [](int) { requested_ = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  }

  bool requested() const noexcept { return requested_ != 0; }

 private:
  static inline volatile sig_atomic_t requested_ = 0;
};
