// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/weights.hpp>

namespace patchdiff::layers {

/// W x + b.
template <class Scalar>
class Linear {
 public:
  Linear(WeightList<Scalar>& weights, const std::string& name, std::int64_t in, std::int64_t out, RandomKey key)
      : weight_(weights.uniform(name + ".weight", {out, in}, 1, key)),
        bias_(weights.constant(name + ".bias", out, 0)) {}

  Column<Scalar> operator()(const Column<Scalar>& x) const {
    return (weight_.matrix() * x.matrix()).array() + bias_.column();
  }

  /// Adds the gradients of <y, slope> to those of the weights; returns that of x.
  Column<Scalar> backward(const Column<Scalar>& x, const Column<Scalar>& slope, Column<Scalar>& gradients) const {
    weight_.gradient_matrix(gradients).noalias() += slope.matrix() * x.matrix().transpose();
    bias_.gradient_column(gradients) += slope;
    return (weight_.matrix().transpose() * slope.matrix()).array();
  }

 private:
  Weight<Scalar> weight_;
  Weight<Scalar> bias_;
};

}  // namespace patchdiff::layers
