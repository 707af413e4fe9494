// SPDX-License-Identifier: Apache-2.0
// What benchmarks share: timing, medians, and the file of figures.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <patchdiff/io/atomic_file.hpp>

using Json = nlohmann::ordered_json;

/// The seconds that a piece of work takes.
template <class F>
double seconds(F&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Spread {
  double median = 0, least = 0, most = 0;
};

inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

inline Json to_json(Spread spread) {
  return {{"median_ms", 1e3 * spread.median}, {"min_ms", 1e3 * spread.least}, {"max_ms", 1e3 * spread.most}};
}

/// Writes every figure of a benchmark, unless the path is empty.
inline void write_figures(const std::string& path, const std::string& component, const Json& figures) {
  if (path.empty()) return;
  patchdiff::AtomicFile file(path, component);
  file.write(figures.dump(2) + "\n");
  file.commit();
}
