// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>

/// Products of small matrices whose result is held in registers.
namespace patchdiff::torch_cpu {

/// out [rows, columns] = left [rows, depth] right [depth, columns]; lengths and steps in floats.
///
/// Columns are a multiple of 16, at most `product_columns`.
struct RegisterProduct {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t depth = 0;
  const float* left = nullptr;
  std::int64_t left_row = 0;   ///< from one row to the next
  std::int64_t left_step = 0;  ///< along the depth
  const float* right = nullptr;
  std::int64_t right_step = 0;
  float* out = nullptr;
  std::int64_t out_row = 0;
  bool add = false;  ///< to what `out` holds
};

/// Most columns of a result, and its rows at a time, by the processor's registers: so many sums of a product are under
/// way, 16 with AVX-512 and 12 with AVX2, that they hide how long each takes.
template <class V>
constexpr std::int64_t product_columns = lanes_of<V> == 16 ? 64 : 16;
template <class V>
constexpr int product_rows = lanes_of<V> == 16 ? 4 : 6;

template <class V, int Rows, int Vectors>
[[gnu::always_inline]] inline void multiply_rows(const RegisterProduct& p, std::int64_t first) noexcept {
  V sums[Rows][Vectors]{};
  const float* left = p.left + first * p.left_row;
  const float* right = p.right;
  for (std::int64_t k = 0; k < p.depth; ++k, left += p.left_step, right += p.right_step) {
    V row[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) load(right + v * lanes_of<V>, row[v]);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const float value = left[r * p.left_row];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] += value * row[v];
    }
  }
  float* out = p.out + first * p.out_row;
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      V before{};
      if (p.add) load(out + r * p.out_row + v * lanes_of<V>, before);
      store(out + r * p.out_row + v * lanes_of<V>, before + sums[r][v]);
    }
  }
}

template <class V, int Vectors>
[[gnu::always_inline]] inline void multiply_all_rows(const RegisterProduct& p) noexcept {
  constexpr int rows = product_rows<V>;
  std::int64_t first = 0;
  for (; first + rows <= p.rows; first += rows) multiply_rows<V, rows, Vectors>(p, first);
  if constexpr (rows > 4) {
    if (p.rows - first >= 4) {
      multiply_rows<V, 4, Vectors>(p, first);
      first += 4;
    }
  }
  if (p.rows - first >= 2) {
    multiply_rows<V, 2, Vectors>(p, first);
    first += 2;
  }
  if (first < p.rows) multiply_rows<V, 1, Vectors>(p, first);
}

template <class V, int Columns = product_columns<V>>
[[gnu::always_inline]] inline void multiply_body(const RegisterProduct& p) noexcept {
  if constexpr (Columns > 16) {
    if (p.columns < Columns) return multiply_body<V, Columns - 16>(p);
  }
  multiply_all_rows<V, Columns / lanes_of<V>>(p);
}

/// Each sum runs along the depth in order, then is added.
template <class V>
void multiply(const RegisterProduct& product) noexcept {
  with_vectors<V, &multiply_body<V>>(product);
}

}  // namespace patchdiff::torch_cpu
