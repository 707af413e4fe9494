// SPDX-License-Identifier: Apache-2.0
// A thread pool that has no parallel_for.
// Message: EigenDevice: .* concept Executor .*executor[.]parallel_for[(]n, f[)].* invalid
#include <patchdiff/backend/eigen/eigen_tensor.hpp>

struct Pool {
#ifndef MUST_FAIL
  void parallel_for(std::int64_t n, const patchdiff::IndexTask& f) {
    while (n-- > 0) f(n);
  }
#endif
};

patchdiff::EigenDevice<float> device(Pool& pool) { return {pool}; }
