// SPDX-License-Identifier: Apache-2.0
// A network that does not say how many channels it gives.
// Message: DenoiserWrapper: .* concept Network .*net[.]output_channels[(][)].* invalid
#include <patchdiff/diffusion/denoiser_wrapper.hpp>

#ifdef MUST_FAIL
#define output_channels channels_out
#endif
#include "custom_backend/pixelwise_network.hpp"
#undef output_channels
#include "custom_backend/span_backend.hpp"

using Net = host::PixelwiseNetwork<host::SpanBackend<float>>;

patchdiff::DenoiserWrapper<Net> wrapped(Net network) { return {std::move(network), {.image = {1, 8, 8}}}; }
