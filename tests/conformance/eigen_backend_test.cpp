// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>

#include "support/catch.hpp"

#include "conformance/suite.hpp"

namespace patchdiff {
namespace {

template <class Scalar>
struct Serial {
  using Backend = EigenBackend<Scalar>;
  static EigenDevice<Scalar> device() { return {}; }
  static constexpr double rounding = std::is_same_v<Scalar, float> ? 1e-6 : 1e-14;
  static constexpr double trajectory_tolerance = std::is_same_v<Scalar, float> ? 1e-4 : 1e-10;
};

template <class Scalar>
struct Parallel : Serial<Scalar> {
  static EigenDevice<Scalar> device() {
    static ThreadExecutor executor(3);
    return {executor};
  }
};

TEMPLATE_TEST_CASE("EigenBackend does what every backend must", "", Serial<float>, Serial<double>, Parallel<float>,
                   Parallel<double>) {
  conformance::run_suite<TestType>();
}

}  // namespace
}  // namespace patchdiff
