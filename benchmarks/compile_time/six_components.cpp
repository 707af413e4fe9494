// SPDX-License-Identifier: Apache-2.0
#include "six_components.hpp"

#include <patchdiff/backend/torch/torch_backend.hpp>

template double used<patchdiff::TorchBackend>();
