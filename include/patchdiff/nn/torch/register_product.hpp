// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/core/compiled_twice.hpp>

/// Products of small matrices whose result is held in registers; for processors with AVX-512.
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

/// Most columns of a result, four vectors, and its rows at a time: 16 sums of a product are under way, which hides how
/// long each takes, and a multiple of 16 rows leaves none over.
constexpr std::int64_t product_columns = 4 * lanes;
constexpr std::int64_t product_rows = 4;

template <int Rows, int Vectors>
[[gnu::always_inline]] inline void multiply_rows(const RegisterProduct& p, std::int64_t first) noexcept {
  Floats sums[Rows][Vectors]{};
  const float* left = p.left + first * p.left_row;
  const float* right = p.right;
  for (std::int64_t k = 0; k < p.depth; ++k, left += p.left_step, right += p.right_step) {
    Floats row[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) load(right + v * lanes, row[v]);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const float value = left[r * p.left_row];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] += value * row[v];
    }
  }
  float* out = p.out + first * p.out_row;
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      Floats before{};
      if (p.add) load(out + r * p.out_row + v * lanes, before);
      store(out + r * p.out_row + v * lanes, before + sums[r][v]);
    }
  }
}

template <int Vectors>
[[gnu::always_inline]] inline void multiply_all_rows(const RegisterProduct& p) noexcept {
  std::int64_t first = 0;
  for (; first + product_rows <= p.rows; first += product_rows) multiply_rows<product_rows, Vectors>(p, first);
  for (; first < p.rows; ++first) multiply_rows<1, Vectors>(p, first);
}

[[gnu::always_inline]] inline void multiply_body(const RegisterProduct& p) noexcept {
  switch (p.columns / lanes) {
    case 4: return multiply_all_rows<4>(p);
    case 3: return multiply_all_rows<3>(p);
    case 2: return multiply_all_rows<2>(p);
    default: return multiply_all_rows<1>(p);
  }
}

/// Each sum runs along the depth in order, then is added.
inline void multiply(const RegisterProduct& product) noexcept { with_avx512<&multiply_body>(product); }

}  // namespace patchdiff::torch_cpu
