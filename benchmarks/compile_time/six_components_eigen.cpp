// SPDX-License-Identifier: Apache-2.0
#include "six_components.hpp"

#include <patchdiff/backend/eigen/eigen_backend.hpp>

template double used<patchdiff::EigenBackend<float>>();
