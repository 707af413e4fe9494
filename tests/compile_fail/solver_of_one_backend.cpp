// SPDX-License-Identifier: Apache-2.0
// A solver whose step cannot be called with the steps of every backend.
// Message: ODESampler: .* concept Solver .*solver[.]step[(]step, x[)].* invalid
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"

using B = host::SpanBackend<float>;
using Denoiser = patchdiff::DenoiserWrapper<host::PixelwiseNetwork<B>>;

struct EulerOfMine {
#ifdef MUST_FAIL
  B::Tensor step(patchdiff::SolverStep<B>& step, const B::Tensor& x) const {
    return patchdiff::linear<B>(1, x, step.next_time() - step.time(), step.slope(x, step.time()));
  }
#else
  template <patchdiff::Backend Wide>
  typename Wide::Tensor step(patchdiff::SolverStep<Wide>& step, const typename Wide::Tensor& x) const {
    return patchdiff::linear<Wide>(1, x, step.next_time() - step.time(), step.slope(x, step.time()));
  }
#endif
};

B::Wide::Tensor sampled(const Denoiser& denoiser) {
  return patchdiff::ODESampler({}, EulerOfMine{})(denoiser, {.seeds = {1}});
}
