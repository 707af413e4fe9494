// SPDX-License-Identifier: Apache-2.0
// Instructions of pieces of work under callgrind, one dump each; check.cmake reads them.
#pragma once

#include <string>
#include <utility>

#include <valgrind/callgrind.h>

/// Runs `work` twice and counts the second time: the first one fills caches and pools.
template <class F>
void count(const std::string& name, F&& work) {
  work();
  CALLGRIND_ZERO_STATS;
  CALLGRIND_TOGGLE_COLLECT;
  work();
  CALLGRIND_TOGGLE_COLLECT;
  CALLGRIND_DUMP_STATS_AT(name.c_str());
}
