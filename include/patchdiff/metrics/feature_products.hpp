// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include <Eigen/Core>

#include <patchdiff/nn/eigen/matrix_product.hpp>

namespace patchdiff {

/// Feature vectors, one per row.
using FeatureMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Calls f(column, products) for the dot products of each x with y[column], y[column + 1], ..., at most 512 at a time.
template <class X, class Y, class F>
void for_product_blocks(const X& x, const Y& y, const F& f) {
  constexpr Eigen::Index block = 512;
  FeatureMatrix products;
  for (Eigen::Index column = 0; column < y.rows(); column += block) {
    const Eigen::Index count = std::min(block, y.rows() - column);
    products.setZero(x.rows(), count);
    layers::add_product(products.data(), count, x, y.middleRows(column, count).transpose());
    f(column, products);
  }
}

}  // namespace patchdiff
