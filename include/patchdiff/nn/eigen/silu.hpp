// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace patchdiff::layers {

/// x sigmoid(x), of any array.
template <class Array>
auto silu(const Array& x) {
  return x / (typename Array::Scalar(1) + (-x).exp());
}

}  // namespace patchdiff::layers
