// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>

/// Products of small matrices whose result is held in registers.
namespace patchdiff::torch_cpu {

/// out [rows, vectors of 16] = left [rows, depth] right [depth, vectors of 16]; lengths and steps in floats.
struct RegisterProduct {
  std::int64_t rows = 0;
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

/// Most vectors of a result: with six rows of them, the right side's and a number of the left's, 29 registers of 32.
constexpr std::int64_t product_vectors = 4;
constexpr std::int64_t product_rows = 6;

template <int Rows, int Vectors>
[[gnu::always_inline]] inline void multiply_rows(const RegisterProduct& p, std::int64_t first) noexcept {
  Floats sums[Rows][Vectors]{};
  const float* left = p.left + first * p.left_row;
  const float* right = p.right;
  for (std::int64_t k = 0; k < p.depth; ++k, left += p.left_step, right += p.right_step) {
    Floats row[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) load(right + v * lanes, lanes, row[v]);
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
      Floats before{};
      if (p.add) load(out + r * p.out_row + v * lanes, lanes, before);
      store(out + r * p.out_row + v * lanes, lanes, before + sums[r][v]);
    }
  }
}

template <int Vectors>
[[gnu::always_inline]] inline void multiply_all_rows(const RegisterProduct& p) noexcept {
  std::int64_t first = 0;
  for (; first + product_rows <= p.rows; first += product_rows) multiply_rows<product_rows, Vectors>(p, first);
  for (; first + 2 <= p.rows; first += 2) multiply_rows<2, Vectors>(p, first);
  if (first < p.rows) multiply_rows<1, Vectors>(p, first);
}

/// A product of up to `product_vectors` vectors; each sum runs along the depth in order, then is added.
[[gnu::always_inline]] inline void multiply(const RegisterProduct& p, std::int64_t vectors) noexcept {
  switch (vectors) {
    case 4: return multiply_all_rows<4>(p);
    case 3: return multiply_all_rows<3>(p);
    case 2: return multiply_all_rows<2>(p);
    default: return multiply_all_rows<1>(p);
  }
}

}  // namespace patchdiff::torch_cpu
