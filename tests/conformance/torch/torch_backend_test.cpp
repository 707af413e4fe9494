// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/backend/torch/torch_backend.hpp>

#include "support/torch_catch.hpp"

#include "conformance/sampling_suite.hpp"
#include "conformance/suite.hpp"

namespace patchdiff {
namespace {

template <class Scalar>
struct TorchFixture {
  using Backend = TorchBackend;
  static TorchDevice device() { return {at::kCPU, at::CppTypeToScalarType<Scalar>::value}; }
  static constexpr double rounding = std::is_same_v<Scalar, float> ? 1e-6 : 1e-14;
  static constexpr double trajectory_tolerance = std::is_same_v<Scalar, float> ? 1e-4 : 1e-10;
};

TEMPLATE_TEST_CASE("TorchBackend does what every backend must", "", TorchFixture<float>, TorchFixture<double>) {
  conformance::run_suite<TestType>();
  conformance::run_sampling_suite<TestType>();
}

// The paths of other devices run here on tensors that the kernels for the CPU do not take.

TEST_CASE("a differentiable crop gathers, and its gradient counts how often a pixel was cut") {
  const Places places{{2, 3}, {Place::at(3, 0), Place::at(1, 4)}};
  const at::Tensor images = random_tensor<TorchBackend>({2, 3, 5, 7}, 1);
  const at::Tensor leaf = images.detach().clone().requires_grad_();
  const at::Tensor patches = TorchBackend::crop(leaf, places);
  CHECK(at::equal(patches.detach(), TorchBackend::crop(images, places)));
  patches.sum().backward();
  at::Tensor counts = at::zeros({2, 3, 5, 7});
  counts[0].slice(1, 3, 5).slice(2, 0, 3).fill_(1);
  counts[1].slice(1, 1, 3).slice(2, 4, 7).fill_(1);
  CHECK(at::equal(leaf.grad(), counts));
  const Places outside{{4, 9}, {Place::at(-3, 2), Place::at(4, -5)}};
  CHECK(at::equal(TorchBackend::crop(leaf, outside).detach(), TorchBackend::crop(images, outside)));
}

TEST_CASE("coordinates by operators are exact at the outer pixels too") {
  const TorchDevice half{at::kCPU, at::kBFloat16};
  const Places places{{3, 4}, {Place::at(1, 2), Place::at(0, 5)}};
  const at::Tensor coarse = TorchBackend::coordinate_grid(places, {6, 9}, half);
  CHECK(coarse.scalar_type() == at::kBFloat16);
  CHECK(at::allclose(coarse.to(at::kFloat), TorchBackend::coordinate_grid(places, {6, 9}, {}), 0, 1e-2));
  for (std::int64_t side = 2; side < 600; side += 13) {
    const Places corners{{1, 1}, {Place::at(0, 0), Place::at(side - 1, side - 1)}};
    CHECK(TorchBackend::to_host(TorchBackend::coordinate_grid(corners, {side, side}, half)) ==
          std::vector<double>{-1, -1, 1, 1});
  }
}

TEST_CASE("Adam and the finite flag by operators agree with the kernels") {
  for (const at::ScalarType scalar : {at::kFloat, at::kDouble}) {
    const TorchDevice device{at::kCPU, scalar};
    const auto transposed = [](const at::Tensor& x) { return x.t().contiguous().t(); };
    const at::Tensor finite = at::ones({}), broken = at::zeros({});
    at::Tensor value = random_tensor<TorchBackend>({3, 4}, 1, device), mean = at::zeros_like(value),
               square = mean.clone();
    at::Tensor other_value = value.clone(), other_mean = mean.clone(), other_square = mean.clone();
    const auto update = [&](const at::Tensor& gradient, const at::Tensor& flag, double count) {
      REQUIRE_FALSE(transposed(gradient).is_contiguous());
      TorchBackend::adam_update(value, mean, square, gradient, at::full({}, count), flag, {.epsilon = 1e-4});
      TorchBackend::adam_update(other_value, other_mean, other_square, transposed(gradient), at::full({}, count), flag,
                                {.epsilon = 1e-4});
      const double tolerance = scalar == at::kFloat ? 1e-6 : 1e-9;  // the count is in float32
      CHECK(at::allclose(value, other_value, 0, tolerance));
      CHECK(at::allclose(mean, other_mean, 0, tolerance));
      CHECK(at::allclose(square, other_square, 0, tolerance));
    };
    at::Tensor gradient = random_tensor<TorchBackend>({3, 4}, 2, device);
    update(gradient, finite, 1);
    update(gradient * 3, finite, 2);
    const at::Tensor before = other_value.clone();
    gradient[1][2] = std::numeric_limits<double>::quiet_NaN();
    update(gradient, broken, 2);
    CHECK(at::equal(other_value, before));

    const auto flag = [&](const at::Tensor& x) {
      return TorchBackend::read_flag(TorchBackend::finite_flag(std::array{value, transposed(x)}));
    };
    CHECK(flag(value));
    CHECK_FALSE(flag(gradient));
    CHECK_FALSE(flag(value / 0));
  }
}

}  // namespace
}  // namespace patchdiff
