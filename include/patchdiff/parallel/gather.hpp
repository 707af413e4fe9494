// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/parallel/process_group.hpp>

namespace patchdiff {

/// Adds these numbers over all processes, and waits. Every process gives as many. Errors: ProcessError.
template <ProcessGroup G>
void sum_over(G& group, std::vector<double>& values, std::string_view what) {
  // Not given back where the sum fails, as it may still be written to.
  auto memory = std::make_unique<std::vector<double>>(std::move(values));
  try {
    typename G::Sum sum = group.start_sum(std::span<double>(*memory));
    group.wait(sum, what);
  } catch (...) {
    static_cast<void>(memory.release());
    throw;
  }
  values = std::move(*memory);
}

/// What each process gave, by rank, on every process; they may give lists of different lengths.
///
/// `what` names it in errors. A sum among zeros, of twice the numbers that a message to each would take: for results,
/// flags and settings. Errors: ProcessError.
template <ProcessGroup G>
std::vector<std::vector<double>> gather(G& group, std::span<const double> own, std::string_view what) {
  const auto rank = static_cast<std::size_t>(group.rank());
  std::vector<double> lengths(static_cast<std::size_t>(group.size()));
  lengths[rank] = static_cast<double>(own.size());
  sum_over(group, lengths, what);
  std::vector<std::size_t> begins{0};
  for (const double length : lengths) begins.push_back(begins.back() + static_cast<std::size_t>(length));
  std::vector<double> values(begins.back());
  std::copy(own.begin(), own.end(), values.begin() + static_cast<std::ptrdiff_t>(begins[rank]));
  if (!values.empty()) sum_over(group, values, what);
  std::vector<std::vector<double>> by_rank;
  for (std::size_t other = 0; other < lengths.size(); ++other) {
    by_rank.emplace_back(values.begin() + static_cast<std::ptrdiff_t>(begins[other]),
                         values.begin() + static_cast<std::ptrdiff_t>(begins[other + 1]));
  }
  return by_rank;
}

/// Whether the flag is set on any process. Errors: ProcessError.
template <ProcessGroup G>
bool any_process(G& group, bool flag, std::string_view what) {
  std::vector<double> count{flag ? 1.0 : 0.0};
  sum_over(group, count, what);
  return count.front() > 0;
}

}  // namespace patchdiff
