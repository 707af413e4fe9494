// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/parallel/process_group.hpp>

namespace patchdiff {

/// What tensors are copied to in order to be summed in one message, in the host's memory.
///
/// In float32, or in float64 where B is its own wide companion. A backend of other memory announces a buffer of its own
/// as `B::MessageBuffer`, with these members (TorchBackend does).
template <Backend B>
class HostBuffer {
 public:
  using Scalar = std::conditional_t<std::same_as<B, typename B::Wide>, double, float>;

  static constexpr std::int64_t bytes_per_element(const typename B::Device&) noexcept { return sizeof(Scalar); }

  HostBuffer(std::int64_t elements, const typename B::Device&) : values_(static_cast<std::size_t>(elements)) {}

  void set_zero() { std::fill(values_.begin(), values_.end(), Scalar{0}); }

  /// Copies a tensor to the elements from `first` on.
  void write(std::int64_t first, const typename B::Tensor& tensor) {
    const std::vector<double> numbers = B::to_host(tensor);
    std::transform(numbers.begin(), numbers.end(), values_.begin() + first,
                   [](double number) { return static_cast<Scalar>(number); });
  }

  /// Copies the elements from `first` on to a tensor.
  void read(std::int64_t first, typename B::Tensor& tensor) const {
    const Shape shape = B::shape(tensor);
    const std::span<const Scalar> values(values_);
    B::assign(tensor, B::from_host(values.subspan(static_cast<std::size_t>(first),
                                                  static_cast<std::size_t>(element_count(shape))),
                                   shape, B::device(tensor)));
  }

  template <ProcessGroup G>
  typename G::Sum start_sum(G& group) {
    return group.start_sum(std::span<Scalar>(values_));
  }

  template <ProcessGroup G>
  void wait(G& group, typename G::Sum& sum, std::string_view what) {
    group.wait(sum, what);
  }

 private:
  std::vector<Scalar> values_;
};

template <Backend B>
auto message_buffer_type() {
  if constexpr (requires { typename B::MessageBuffer; }) {
    return std::type_identity<typename B::MessageBuffer>{};
  } else {
    return std::type_identity<HostBuffer<B>>{};
  }
}

/// The buffer that a backend announces, or HostBuffer.
template <Backend B>
using MessageBuffer = typename decltype(message_buffer_type<B>())::type;

}  // namespace patchdiff
