// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/backend/eigen/executor.hpp>

/// Loops in fixed blocks: what makes one task depends on the sizes alone, never on the executor.
namespace patchdiff::blocks {

/// Elements of one task.
constexpr std::int64_t length = 32768;

/// The number of blocks that a row of that many elements makes.
constexpr std::int64_t count(std::int64_t elements) noexcept { return (elements + length - 1) / length; }

/// Calls f(first, count) for the blocks of a tensor's elements.
template <class F>
void for_elements(ExecutorReference executor, std::int64_t elements, const F& f) {
  executor.parallel_for_blocks(elements, length, [&](std::int64_t first, std::int64_t end) { f(first, end - first); });
}

/// Calls f(row) for each of `rows` rows; short ones share a task.
template <class F>
void for_rows(ExecutorReference executor, std::int64_t rows, std::int64_t elements, const F& f) {
  const std::int64_t shared = std::max<std::int64_t>(1, length / std::max<std::int64_t>(1, elements));
  executor.parallel_for_blocks(rows, shared, [&](std::int64_t row, std::int64_t end) {
    for (; row < end; ++row) f(row);
  });
}

/// Calls f(row, first, count) for the blocks of each row; short rows share a task.
template <class F>
void for_row_blocks(ExecutorReference executor, std::int64_t rows, std::int64_t elements, const F& f) {
  const std::int64_t parts = count(elements);
  for_rows(executor, rows * parts, std::min(elements, length), [&](std::int64_t index) {
    const std::int64_t first = index % parts * length;
    f(index / parts, first, std::min(length, elements - first));
  });
}

}  // namespace patchdiff::blocks
