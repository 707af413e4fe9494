// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/patch/coord_encoder.hpp>

int main() {
  using B = patchdiff::EigenBackend<float>;
  const patchdiff::CoordEncoder<B> encoder({8, 8});
  const auto grid = encoder(patchdiff::Places::whole({8, 8}, 1), B::Device{});
  return B::shape(grid) == patchdiff::Shape{1, 2, 8, 8} ? 0 : 1;
}
