// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

/// A tensor of these numbers.
template <Backend B>
typename B::Tensor tensor(const Shape& shape, const std::vector<double>& values, typename B::Device device = {}) {
  return B::from_host(std::span<const double>(values), shape, device);
}

/// A tensor of one number everywhere.
template <Backend B>
typename B::Tensor filled(const Shape& shape, double value, typename B::Device device = {}) {
  return tensor<B>(shape, std::vector<double>(static_cast<std::size_t>(element_count(shape)), value), device);
}

/// A tensor of normal numbers that float32 holds exactly; another seed gives others.
template <Backend B>
typename B::Tensor random_tensor(const Shape& shape, std::uint64_t seed, typename B::Device device = {}) {
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  RandomStream({seed}, Purpose::data_order, 0, 0).normals(std::span(values));
  return B::from_host(std::span<const float>(values), shape, device);
}

/// <x, y>, in double.
template <Backend B>
double inner_product(const typename B::Tensor& x, const typename B::Tensor& y) {
  const std::vector<double> a = B::to_host(x), b = B::to_host(y);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// The derivative of a function of one number, by central differences of second order.
template <class F>
double central_difference(F&& f, double step = 1e-5) {
  return (f(step) - f(-step)) / (2 * step);
}

}  // namespace patchdiff
