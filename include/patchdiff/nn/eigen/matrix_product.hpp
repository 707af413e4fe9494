// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <Eigen/Core>

namespace patchdiff::layers {

/// A matrix somewhere in memory, row by row; the rows may lie further apart than they are long.
template <class Scalar>
using MatrixView =
    Eigen::Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0, Eigen::OuterStride<>>;

template <class Scalar>
MatrixView<Scalar> matrix_view(const Scalar* data, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  return {data, rows, columns, Eigen::OuterStride<>(stride)};
}

/// Adds the product of a and b, views or transposed views, to `out`, whose rows lie `stride` numbers apart.
///
/// Works on the calling thread alone. Where a host compiles with OpenMP, Eigen spreads large products over as many
/// threads as it finds, and the bits depend on their number; it never does that to a result that has at most 32 rows by
/// its type, so `out` is made of such.
template <class Scalar, class A, class B>
void add_product(Scalar* out, std::int64_t stride, const A& a, const B& b) {
  constexpr int panel_rows = 32;
  using Panel = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, panel_rows>;
  for (std::int64_t row = 0; row < a.rows(); row += panel_rows) {
    const std::int64_t rows = std::min<std::int64_t>(panel_rows, a.rows() - row);
    Eigen::Map<Panel, 0, Eigen::OuterStride<>> panel(out + row * stride, rows, b.cols(), Eigen::OuterStride<>(stride));
    panel.noalias() += a.middleRows(row, rows) * b;
  }
}

}  // namespace patchdiff::layers
