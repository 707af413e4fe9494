// SPDX-License-Identifier: Apache-2.0
// A plain sigma belongs to unscaled images: where images are scaled, the type asks for the scale too.
// Message: could not convert|no matching function
#include <vector>

#include <patchdiff/diffusion/perturb.hpp>

#include "custom_backend/span_backend.hpp"

using B = host::SpanBackend<double>;

B::Tensor right(const B::Tensor& clean, const B::Tensor& noise) {
  const std::vector<patchdiff::NoiseLevel> levels{{.scale = 0.5, .sigma = 2}};
  return patchdiff::perturb<B>(clean, levels, noise);
}

#ifdef MUST_FAIL
B::Tensor wrong(const B::Tensor& clean, const B::Tensor& noise) {
  const std::vector<double> sigma{2};
  return patchdiff::perturb<B>(clean, sigma, noise);
}
#endif
