// SPDX-License-Identifier: Apache-2.0
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
