// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/normal_draws.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

/// a x + b y with the same two numbers for every sample.
template <Backend B>
typename B::Tensor linear(double a, const typename B::Tensor& x, double b, const typename B::Tensor& y) {
  const auto samples = static_cast<std::size_t>(B::shape(x).front());
  const std::vector<double> all_a(samples, a), all_b(samples, b);
  return B::combine(all_a, x, all_b, y);
}

/// a x with the same number for every sample.
template <Backend B>
typename B::Tensor linear(double a, const typename B::Tensor& x) {
  const std::vector<double> all_a(static_cast<std::size_t>(B::shape(x).front()), a);
  return B::scale(all_a, x);
}

/// A backend whose devices may draw unit normal numbers by themselves, which then need no upload: those of NormalDraws,
/// to a few units in the last place of double, rounded to `Scalar` and then to the device's scalar type. Optional.
template <class B>
concept DrawsNormals = requires(const NormalDraws& draws, const Shape& shape, typename B::Device device) {
  { B::draws_normals(device) } -> std::same_as<bool>;
  { B::template normals<float>(draws, shape, device) } -> std::same_as<typename B::Tensor>;
};

/// Unit normal numbers, rounded to Scalar and then to the device's scalar type: drawn on the device where it draws by
/// itself (`DrawsNormals`), or else on the host.
template <Backend B, class Scalar>
typename B::Tensor draw_normals(const NormalDraws& draws, const Shape& shape, typename B::Device device) {
  if constexpr (DrawsNormals<B>) {
    if (B::draws_normals(device)) return B::template normals<Scalar>(draws, shape, device);
  }
  const std::vector<Scalar> values = draws.values<Scalar>();
  return B::from_host(std::span<const Scalar>(values), shape, device);
}

}  // namespace patchdiff
