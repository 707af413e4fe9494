// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>

#include "support/torch_catch.hpp"

#include "conformance/suite.hpp"
#include "support/operator_counts.hpp"

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
}

TEST_CASE("LibTorch and Eigen train alike: 100 steps in float64") {
  conformance::check_same(conformance::train_and_sample<EigenBackend<double>>({}, {.steps = 100}),
                          conformance::train_and_sample<TorchBackend>({at::kCPU, at::kDouble}, {.steps = 100}), 1e-8);
}

TEST_CASE("views of any strides are as good as their contiguous copies") {
  using B = TorchBackend;
  const auto random = [](const Shape& shape) { return random_tensor<B>(shape, 1); };
  const Places inside{{2, 3}, {Place::at(2, 0), Place::at(1, 2)}};
  const Places outside{{6, 9}, {Place::at(-1, -2), Place::at(3, -9)}};
  const std::vector<double> a{2, -1};
  for (const at::Tensor& view :
       {random({2, 3, 5, 4}).transpose(2, 3), random({2, 3, 4, 10}).slice(3, 0, 10, 2),
        random({2, 1, 4, 5}).expand({2, 3, 4, 5}), random({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast)}) {
    REQUIRE_FALSE(view.is_contiguous());
    const at::Tensor x = view.contiguous();
    CHECK(at::equal(B::crop(view, inside), B::crop(x, inside)));
    CHECK(at::equal(B::crop(view, outside), B::crop(x, outside)));
    CHECK(at::equal(B::fourier_features(view, a), B::fourier_features(x, a)));
    CHECK(at::equal(B::concat(std::array{view, x}, 1), B::concat(std::array{x, x}, 1)));
    CHECK(at::equal(B::slice(view, 2, 1, 2), B::slice(x, 2, 1, 2)));
    CHECK(at::equal(B::scale(a, view), B::scale(a, x)));
    CHECK(at::equal(B::combine(a, x, a, view), B::combine(a, x, a, x)));
    CHECK(at::equal(B::multiply(x, view), B::multiply(x, x)));
    CHECK(at::allclose(B::sum_per_sample(view), B::sum_per_sample(x), 1e-5, 1e-5));
    CHECK(at::equal(B::clone(view), x));
    CHECK(B::to_host(view) == B::to_host(x));
    at::Tensor target = at::zeros({2, 3, 5, 4}).transpose(2, 3), expected = at::zeros({2, 3, 4, 5});
    for (at::Tensor* written : {&target, &expected}) {
      B::assign(*written, written == &target ? view : x);
      B::accumulate(*written, view);
      B::blend(*written, x, 0.25);
    }
    CHECK(at::equal(target, expected));
    B::set_zero(target);
    CHECK(at::equal(target, at::zeros({2, 3, 4, 5})));
    B::accumulate_patches(target, B::crop(view, outside), outside);
    B::set_zero(expected);
    B::accumulate_patches(expected, B::crop(x, outside), outside);
    CHECK(at::equal(target, expected));
  }
}

TEST_CASE("LibTorch's images may have more than 2^31 pixels") {
  constexpr std::int64_t side = 46'342;
  const Places corner{{2, 3}, {Place::at(side - 2, side - 2)}};
  const at::Tensor expected = at::tensor({7, 7, 0, 7, 7, 0}).view({1, 1, 2, 3});
  const at::Tensor virtual_image = at::full({1, 1, 1, 1}, 7).expand({1, 1, side, side});
  REQUIRE(virtual_image.numel() > std::int64_t{1} << 31);
  CHECK(at::equal(TorchBackend::crop(virtual_image, corner), expected));
  // Of two gigabytes, only the corner is ever touched.
  const at::Tensor image = at::empty({1, 1, side, side}, at::kByte);
  image.slice(2, side - 2).slice(3, side - 2).fill_(7);
  CHECK(at::equal(TorchBackend::crop(image, corner).to(at::kLong), expected));
}

TEST_CASE("LibTorch's tensors of mixed scalar types are refused") {
  using B = TorchBackend;
  const at::Tensor x = at::ones({2, 3, 4, 4}), y = at::ones({2, 3, 4, 4}, at::kDouble);
  const std::vector<double> a{1, 2};
  at::Tensor target = at::zeros({2, 3, 4, 4});
  CHECK_ERROR(ShapeError, "TorchBackend: combine: expected cpu Float, got cpu Double", B::combine(a, x, a, y));
  CHECK_ERROR(ShapeError, "TorchBackend: multiply: expected cpu Float, got cpu Double", B::multiply(x, y));
  CHECK_ERROR(ShapeError, "TorchBackend: concat: expected cpu Float, got cpu Double", B::concat(std::array{x, y}, 1));
  CHECK_ERROR(ShapeError, "TorchBackend: accumulate: expected cpu Float, got cpu Double", B::accumulate(target, y));
  CHECK_ERROR(ShapeError, "TorchBackend: blend: expected cpu Float, got cpu Double", B::blend(target, y, 0.5));
  CHECK(at::equal(target, at::zeros({2, 3, 4, 4})));
  CHECK_ERROR(ShapeError, "TorchBackend: combine: expected cpu Float, got cpu Double", EDMLoss<B>{}(EDM{}, x, y, a));
  CHECK_ERROR(ShapeError, "TorchBackend: multiply: expected cpu Float, got cpu Double",
              EDMLoss<B>{}(EDM{}, x, x, a, y));
  const DenoiserWrapper denoiser{host::PixelwiseNetwork<B>({.in_channels = 8, .out_channels = 3}),
                                 {.image = {3, 4, 4}}};
  const Places places = Places::whole({4, 4}, 2);
  CHECK_ERROR(ShapeError, "DenoiserWrapper: x: expected cpu Float, got cpu Double", denoiser(y, a, places));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: fields: expected cpu Float, got cpu Double",
              denoiser(x, a, places, {.fields = y}));
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
  CHECK(TorchBackend::crop(leaf.slice(0, 0, 0), {{2, 3}, {}}).sizes() == at::IntArrayRef{0, 3, 2, 3});
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

TEST_CASE("coordinates by operators are computed in float64 for it, so nothing is converted in the end") {
  const Places places{{3, 4}, {Place::at(1, 2)}};
  const auto conversions = [&](at::ScalarType scalar) {
    const OperatorCounts counts;
    TorchBackend::coordinate_grid(places, {6, 9}, {at::kMeta, scalar});
    return OperatorCounts::counts()["aten::_to_copy"];
  };
  CHECK(conversions(at::kDouble) == conversions(at::kFloat));
  CHECK(conversions(at::kBFloat16) == conversions(at::kFloat) + 1);
}

TEST_CASE("a bound of norms beyond the scalar type clips nothing") {
  at::Tensor x = at::ones({3}, at::kBFloat16);
  TorchBackend::clip_norm(x, TorchBackend::norm(std::array{x}), std::numeric_limits<double>::max());
  CHECK(at::equal(x, at::ones({3}, at::kBFloat16)));
}

TEST_CASE("normal numbers by operations on integers are the host's") {
  const std::vector<RandomStream> streams{{{1}, Purpose::training_noise, 5, 0},
                                          {{~std::uint64_t{0}}, Purpose::resample, (std::uint64_t{1} << 44) - 1, 7},
                                          {{std::uint64_t{3} << 33}, Purpose::solver_noise, 0, 0xFFFFFFFF}};
  constexpr std::uint64_t far = (std::uint64_t{1} << 46) - 64;
  for (const NormalDraws& draws : {NormalDraws{.streams = streams, .length = 8192},
                                   {streams, {0, 64, far}, 13},
                                   {streams, {1, 6, 11, far + 3}, 1},
                                   {streams, {2}, 6},
                                   {{}, {0}, 4}}) {
    const Shape shape{static_cast<std::int64_t>(draws.streams.size()), static_cast<std::int64_t>(draws.firsts.size()),
                      static_cast<std::int64_t>(draws.length)};
    const TorchDevice wide{at::kCPU, at::kDouble}, narrow{at::kCPU, at::kBFloat16};
    const at::Tensor expected = draw_normals<TorchBackend, double>(draws, shape, wide);
    const at::Tensor drawn = TorchBackend::normals<double>(draws, shape, wide);
    CHECK(drawn.sizes() == at::IntArrayRef(shape));
    CHECK(at::allclose(drawn, expected, 0, 2e-14));
    CHECK(at::equal(TorchBackend::normals<float>(draws, shape, wide), drawn.to(at::kFloat).to(at::kDouble)));
    CHECK(at::equal(TorchBackend::normals<double>(draws, shape, narrow), drawn.to(at::kBFloat16)));
  }
  CHECK_FALSE(TorchBackend::draws_normals({at::kCPU}));
  CHECK(TorchBackend::draws_normals({at::kMeta}));
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
