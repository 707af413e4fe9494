// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "support/catch.hpp"

#include "conformance/suite.hpp"
#include "custom_backend/span_backend.hpp"

namespace patchdiff {
namespace {

template <class Scalar>
struct SpanFixture {
  using Backend = host::SpanBackend<Scalar>;
  static host::Memory device() { return {}; }
  static constexpr double rounding = std::is_same_v<Scalar, float> ? 1e-6 : 1e-14;
  static constexpr double trajectory_tolerance = std::is_same_v<Scalar, float> ? 1e-4 : 1e-10;
};

TEMPLATE_TEST_CASE("SpanBackend does what every backend must", "", SpanFixture<float>, SpanFixture<double>) {
  conformance::run_suite<TestType>();
}

}  // namespace
}  // namespace patchdiff
