// SPDX-License-Identifier: Apache-2.0
// What benchmarks share: options, timing, medians, and the file of figures.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/io/atomic_file.hpp>

#include "shared/run_program.hpp"

using Json = nlohmann::ordered_json;

/// The time by the clock, in seconds.
inline double clock_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The time that all threads of this process have computed, in seconds.
inline double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// The seconds that a piece of work takes.
template <class F, class Clock = double (*)()>
double seconds(F&& work, const Clock& clock = clock_seconds) {
  const double start = clock();
  work();
  return clock() - start;
}

struct Spread {
  double median = 0, least = 0, most = 0;
};

inline Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

/// Of times in seconds.
inline Json to_json(Spread spread) {
  return {{"median_ms", 1e3 * spread.median}, {"min_ms", 1e3 * spread.least}, {"max_ms", 1e3 * spread.most}};
}

inline Json ratio_to_json(Spread spread) {
  return {{"median", spread.median}, {"min", spread.least}, {"max", spread.most}};
}

/// Times of a piece of work, by the clock and of all threads of the processor.
struct Times {
  std::vector<double> elapsed{}, processor{};

  template <class F>
  void add(F&& work) {
    const double start = processor_seconds();
    elapsed.push_back(seconds(work));
    processor.push_back(processor_seconds() - start);
  }
};

/// The ratios of values that were measured in turns.
inline Spread ratios_of(const std::vector<double>& of, const std::vector<double>& by) {
  std::vector<double> all;
  for (std::size_t turn = 0; turn < of.size(); ++turn) all.push_back(of[turn] / by[turn]);
  return spread_of(all);
}

/// Times of two pieces of work in turns, after some to warm up, and the ratios of the first to the second.
struct Comparison {
  Spread first, second, ratio;

  Comparison(std::int64_t turns, const std::function<void()>& one, const std::function<void()>& other,
             const std::function<double()>& clock = clock_seconds) {
    std::vector<double> ones, others;
    for (std::int64_t turn = -3; turn < turns; ++turn) {
      const double a = seconds(one, clock), b = seconds(other, clock);
      if (turn < 0) continue;
      ones.push_back(a);
      others.push_back(b);
    }
    first = spread_of(ones);
    second = spread_of(others);
    ratio = ratios_of(ones, others);
  }
};

/// What Linux calls the processor; elsewhere empty.
inline std::string processor_name() {
  std::ifstream description("/proc/cpuinfo");
  for (std::string line; std::getline(description, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return {};
}

/// Writes every figure of a benchmark and what it ran on, unless the path is empty.
inline void write_figures(const std::string& path, const std::string& component, const Json& figures) {
  if (path.empty()) return;
  Json all{{"processor", processor_name()},
           {"hardware_threads", std::thread::hardware_concurrency()},
           {"compiler", __VERSION__}};
  all.update(figures);
  patchdiff::AtomicFile file(path, component);
  file.write(all.dump(2) + "\n");
  file.commit();
}

inline void add_dtype(CLI::App& app, patchdiff::Precision& precision) {
  app.add_option("--dtype", precision, "float32, bfloat16 or float16")
      ->transform(CLI::CheckedTransformer(patchdiff::values_by_name<patchdiff::Precision>()))
      ->default_str(std::string(name_of(precision)));
}

inline void add_json(CLI::App& app, std::string& path) { app.add_option("--json", path, "file for the figures"); }
