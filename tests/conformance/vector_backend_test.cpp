// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "support/catch.hpp"

#include "conformance/sampling_suite.hpp"
#include "conformance/suite.hpp"
#include "support/vector_backend.hpp"

namespace patchdiff {
namespace {

template <class Scalar>
struct VectorFixture {
  using Backend = VectorBackend<Scalar>;
  static VectorDevice<Scalar> device() { return {}; }
  static constexpr double rounding = std::is_same_v<Scalar, float> ? 1e-6 : 1e-14;
  static constexpr double trajectory_tolerance = std::is_same_v<Scalar, float> ? 1e-4 : 1e-10;
};

TEMPLATE_TEST_CASE("VectorBackend does what every backend must", "", VectorFixture<float>, VectorFixture<double>) {
  conformance::run_suite<TestType>();
  conformance::run_sampling_suite<TestType>();
}

}  // namespace
}  // namespace patchdiff
