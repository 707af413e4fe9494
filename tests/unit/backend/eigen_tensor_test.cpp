// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/core/error.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = EigenBackend<float>;

TEST_CASE("EigenTensor shows its parts without copies") {
  std::vector<double> values;
  for (double value = 0; value < 2 * 3 * 4 * 5; ++value) values.push_back(value);
  EigenTensor<float> x = tensor<B>({2, 3, 4, 5}, values);
  CHECK(x.rank() == 4);
  CHECK(x.size() == 120);
  CHECK(x.size(2) == 4);
  CHECK(x.sample_size() == 60);
  CHECK(x.array()(119) == 119);
  CHECK(x.array(60, 2)(1) == 61);
  CHECK(x.samples()(1, 3) == 63);
  CHECK(x.channels(1)(2, 19) == 119);
  CHECK(x.plane(1, 2)(3, 4) == 119);
  CHECK(x.plane(0, 1).row(2)(0) == 30);
  x.plane(1, 0)(0, 1) = -1;
  CHECK(B::to_host(x)[61] == -1);
  CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
}

TEST_CASE("copies of an EigenTensor share, clones do not") {
  EigenTensor<float> x = tensor<B>({2}, {1, 2});
  EigenTensor<float> copy = x, clone = B::clone(x);
  copy.array()(0) = 5;
  CHECK(B::to_host(x) == std::vector<double>{5, 2});
  CHECK(B::to_host(clone) == std::vector<double>{1, 2});
  const EigenTensor<float> moved = std::move(copy);
  CHECK(moved.data() == x.data());
  CHECK(EigenTensor<float>().shape() == Shape{0});
}

TEST_CASE("precision that is already right is shared, other is converted") {
  using Wide = EigenBackend<double>;
  const EigenTensor<double> x = tensor<Wide>({2}, {1.0 / 3, 2});
  CHECK(Wide::widen(x).data() == x.data());
  CHECK(Wide::narrow(x, {}).data() == x.data());
  CHECK(B::narrow(x, {}).array()(0) == 1.0F / 3);
}

TEST_CASE("EigenTensor refuses sizes that memory cannot hold") {
  using Tensor = EigenTensor<float>;
  CHECK_ERROR(ShapeError, "EigenTensor: shape: expected sizes that memory can hold, got [2, -1]", Tensor({2, -1}, {}));
  CHECK_ERROR(ShapeError, "EigenTensor: shape: expected sizes that memory can hold, got [4294967296, 4294967296]",
              Tensor({std::int64_t{1} << 32, std::int64_t{1} << 32}, {}));
  CHECK(Tensor({std::numeric_limits<std::int64_t>::max() / 8, 0}, {}).size() == 0);
}

TEST_CASE("devices of Eigen are told apart by their executors") {
  struct Pool {
    void parallel_for(std::int64_t n, const IndexTask& f) {
      for (std::int64_t task = 0; task < n; ++task) f(task);
    }
  } pool, other;
  const EigenDevice<float> serial, pooled{pool};
  CHECK(B::device_name(serial) == "host float, serial");
  CHECK(B::device_name(pooled) == fmt::format("host float, executor {}", static_cast<void*>(&pool)));
  CHECK(B::device_name({other}) != B::device_name(pooled));
  CHECK(EigenBackend<double>::device_name({}) == "host double, serial");
  CHECK_FALSE(serial == pooled);
  const auto x = B::zeros({2, 2}, pooled), y = B::zeros({2, 2}, serial);
  CHECK(B::device(B::multiply(x, y)) == pooled);
  CHECK(B::device(B::multiply(y, x)) == serial);
  CHECK(EigenBackend<double>::device(B::widen(x)) == B::wide_device(pooled));
  CHECK(B::device(B::narrow(x, serial)) == serial);
}

}  // namespace
}  // namespace patchdiff
