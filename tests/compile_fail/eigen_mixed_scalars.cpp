// SPDX-License-Identifier: Apache-2.0
// Tensors of two scalar types do not meet unnoticed.
// Message: (cannot convert|no viable conversion from).*EigenTensor<double>.*EigenTensor<float>
#include <patchdiff/backend/eigen/eigen_backend.hpp>

int main() {
  using B = patchdiff::EigenBackend<float>;
  auto floats = B::zeros({2}, {});
  const auto doubles = patchdiff::EigenBackend<double>::zeros({2}, {});
  B::accumulate(floats, B::narrow(doubles, {}));
#ifdef MUST_FAIL
  B::accumulate(floats, doubles);
#endif
}
