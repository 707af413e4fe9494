// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace patchdiff {

/// The four numbers around a network F at one noise level: D(x) = c_skip x + c_out F(c_in x, c_noise).
///
/// Source: EDM (arXiv 2206.00364), equation 7.
struct Preconditioning {
  double c_skip = 0;
  double c_out = 1;
  double c_in = 1;
  double c_noise = 0;
};

}  // namespace patchdiff
