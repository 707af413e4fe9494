// SPDX-License-Identifier: Apache-2.0
// What this process takes of the machine's memory, as Linux tells it; examples and benchmarks print it.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

/// A figure of /proc/self/status in bytes, 0 where there is none: resident memory now ("VmRSS"), at most ("VmHWM"), or
/// that of files ("RssFile").
inline std::int64_t process_memory(std::string_view figure) {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    std::int64_t kib = 0;
    if (key.starts_with(figure) && key.size() == figure.size() + 1 && status >> kib) return kib << 10;
  }
  return 0;
}

/// Resets "VmHWM" to what is resident now.
inline void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << 5; }
