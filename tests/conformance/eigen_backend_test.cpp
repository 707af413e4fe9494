// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/backend/host_kernels.hpp>

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

/// What every primitive makes of tensors of many blocks.
template <class Scalar>
std::vector<conformance::Values> of_every_primitive(EigenDevice<Scalar> device) {
  using B = EigenBackend<Scalar>;
  using Tensor = typename B::Tensor;
  std::vector<conformance::Values> all;
  const auto keep = [&](const Tensor& x) { all.push_back(B::to_host(x)); };
  const auto random = [&](const Shape& shape, std::uint64_t seed) { return random_tensor<B>(shape, seed, device); };
  const Tensor x = random({5, 3, 110, 101}, 1), y = random({5, 3, 110, 101}, 2), mask = random({5, 1, 110, 101}, 3);
  REQUIRE(x.sample_size() > blocks::length);
  const std::vector<double> a{1.5, -2, 0, 1, 3}, b{1, 2, 3, 4, 5};
  const Places places{{80, 90},
                      {Place::at(0, 0), Place::at(-3, 5), Place::at(30, 11), Place::at(9, 50), Place::at(1, 1)}};
  keep(B::crop(x, places));
  keep(B::coordinate_grid(places, {110, 101}, device));
  keep(B::fourier_features(x, std::vector<double>{1, 2}));
  keep(B::concat(std::array{x, mask, y}, 1));
  keep(B::slice(x, 1, 1, 2));
  keep(B::scale(a, x));
  keep(B::combine(a, x, b, y));
  keep(B::multiply(x, y));
  keep(B::multiply(x, mask));
  keep(B::sum_per_sample(x));
  keep(B::narrow(B::widen(x), device));
  Tensor value = B::clone(x), mean = B::zeros(x.shape(), device), square = B::zeros(x.shape(), device);
  B::accumulate(value, y);
  B::blend(value, x, 0.3);
  const Tensor finite = B::finite_flag(std::array{value, y});
  B::adam_update(value, mean, square, y, finite, finite, {});
  for (const Tensor& written : {value, mean, square, finite}) keep(written);
  return all;
}

TEMPLATE_TEST_CASE("EigenBackend gives the same bits on any number of threads", "", float, double) {
  const std::vector<conformance::Values> expected = of_every_primitive<TestType>({});
  const conformance::Trajectory run = conformance::train_and_sample<EigenBackend<TestType>>({});
  for (const int threads : {1, 2, 3, 7}) {
    CAPTURE(threads);
    ThreadExecutor executor(threads);
    CHECK((of_every_primitive<TestType>({executor}) == expected));
    CHECK(conformance::train_and_sample<EigenBackend<TestType>>({executor}) == run);
  }
}

TEST_CASE("a sample's sum does not depend on the batch around it") {
  using B = EigenBackend<float>;
  const auto x = random_tensor<B>({3, 3, 110, 101}, 1);
  const std::vector<double> sums = B::to_host(B::sum_per_sample(x));
  for (std::int64_t sample = 0; sample < 3; ++sample) {
    CHECK(B::to_host(B::sum_per_sample(B::slice(x, 0, sample, 1)))[0] == sums[static_cast<std::size_t>(sample)]);
  }
}

TEST_CASE("Eigen's images may have more than 2^31 pixels") {
  constexpr std::int64_t side = 46'342;
  // Of two gigabytes, only the corner is ever touched.
  EigenTensor<std::uint8_t> image({1, 1, side, side}, {});
  REQUIRE(image.size() > std::int64_t{1} << 31);
  image.plane(0, 0).bottomRightCorner(2, 2).setConstant(7);
  CHECK(image.array()(image.size() - 1) == 7);
  CHECK(image.samples()(0, side * side - side - 1) == 7);
  CHECK(image.channels(0)(0, side * side - 2) == 7);
  CHECK(image.array(side * side - 1, 1)(0) == 7);
  std::array<std::uint8_t, 6> patch{};
  host_kernels::crop_plane(reinterpret_cast<const std::byte*>(image.data()), {side, side},
                           Place::at(side - 2, side - 2), {2, 3}, 1, reinterpret_cast<std::byte*>(patch.data()));
  CHECK(patch == std::array<std::uint8_t, 6>{7, 7, 0, 7, 7, 0});
}

}  // namespace
}  // namespace patchdiff
