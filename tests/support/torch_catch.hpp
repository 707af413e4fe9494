// SPDX-License-Identifier: Apache-2.0
// LibTorch and Catch2 in one file. Both define CHECK, and so does glog below LibTorch: LibTorch must come first and
// Catch2 last, or a test's CHECK(x) silently becomes an abort of the program.
#pragma once

#ifdef CHECK_FALSE
#error "support/torch_catch.hpp must be included before Catch2 (support/catch.hpp)"
#endif

#include <torch/types.h>

#undef CHECK
#undef FAIL
#undef INFO
#undef SUCCEED
#undef WARN

#include "support/catch.hpp"
