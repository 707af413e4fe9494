// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>

namespace patchdiff::inference {

/// W x + b of one vector, or W x.
template <class Scalar>
class Linear {
 public:
  enum class Bias { none, some };

  Linear(std::string name, std::int64_t in, std::int64_t out, EigenDevice<Scalar> device, Bias bias = Bias::some)
      : name_(std::move(name)), weight_({out, in}, device), bias_({bias == Bias::some ? out : 0}, device) {
    weight_.array().setZero();
    bias_.array().setZero();
  }

  std::int64_t in() const noexcept { return weight_.size(1); }
  std::int64_t out() const noexcept { return weight_.size(0); }
  auto bias() const { return bias_.array(); }

  Values<Scalar> operator()(const Values<Scalar>& x) const {
    Values<Scalar> y = (weight_.samples() * x.matrix()).array();
    if (bias_.size() > 0) y += bias_.array();
    return y;
  }

  template <class Visitor>
  void visit_state(Visitor& visit) {
    visit(std::string_view(name_ + ".weight"), weight_);
    if (bias_.size() > 0) visit(std::string_view(name_ + ".bias"), bias_);
  }

 private:
  std::string name_;
  EigenTensor<Scalar> weight_, bias_;
};

}  // namespace patchdiff::inference
