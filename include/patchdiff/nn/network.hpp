// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff {

/// How a network is run. Mode and dropout draws come with the call, never from module state or a global generator.
struct Pass {
  bool training = false;                     ///< whether dropout is active
  bool input_gradient = false;               ///< whether backward will be asked for the gradient of the input
  bool parameter_gradients = true;           ///< whether backward adds to the parameters' gradients
  Precision precision = Precision::float32;  ///< scalar type of convolutions and matrix products
  RandomKey key{};                           ///< key of the dropout draws
  std::uint64_t step = 0;                    ///< step of the dropout draws
  std::uint64_t first_sample = 0;            ///< number of the first sample within the step
};

/// A function F(input, c_noise, conditioning) on image batches.
///
/// Shapes: input [N, input_channels, h, w] with h and w divisible by `size_divisor()`; c_noise holds N values; the
/// result is [N, output_channels, h, w]. A network of label_dim 0 takes no labels; one that reads augmentation labels
/// also has `augment_dim()`, and takes none for zeros.
template <class N>
concept Network = Backend<typename N::Backend> &&
    requires(const N& net, const typename N::Backend::Tensor& input, std::span<const double> c_noise,
             const Conditioning<typename N::Backend>& conditioning, const Pass& pass) {
  { net(input, c_noise, conditioning, pass) } -> std::same_as<typename N::Backend::Tensor>;
  { net.input_channels() } -> std::convertible_to<std::int64_t>;
  { net.output_channels() } -> std::convertible_to<std::int64_t>;
  { net.label_dim() } -> std::convertible_to<std::int64_t>;
  { net.size_divisor() } -> std::convertible_to<std::int64_t>;
  { net.device() } -> std::same_as<typename N::Backend::Device>;
};

/// The width of the augmentation labels that a network reads, 0 where it has no `augment_dim()`.
template <class N>
std::int64_t augment_dim(const N& net) {
  if constexpr (requires { net.augment_dim(); }) {
    return net.augment_dim();
  } else {
    return 0;
  }
}

/// Stands in concepts for any callable that parameters are handed to.
template <class B>
struct ParameterVisitor {
  void operator()(std::string_view, typename B::Tensor&) const {}
  void operator()(std::string_view, typename B::Tensor&, typename B::Tensor&) const {}
};

/// Tensors by name: `visit_state(f(name, value))` is the one door for files and averages.
template <class T>
concept HasState = requires(T& owner, ParameterVisitor<typename T::Backend> visitor) {
  owner.visit_state(visitor);
};

/// Parameters by name: `visit_parameters(f(name, value, gradient))` is the one door for optimisers, clipping and
/// all-reduce; `visit_state` also shows constant buffers.
template <class N>
concept HasParameters = HasState<N> && requires(N& net, ParameterVisitor<typename N::Backend> visitor) {
  net.visit_parameters(visitor);
};

/// What training asks for: `record` keeps what `backward` needs.
///
/// `backward(record, cotangent)` adds to the parameters' gradients, unless the pass said not to, and, where the pass
/// asked for it, returns the gradient of the input. A record without parameters' gradients serves any number of calls
/// of `backward`.
template <class N>
concept HasBackward = requires(N& net, const typename N::Backend::Tensor& tensor, std::span<const double> c_noise,
                               const Conditioning<typename N::Backend>& conditioning, const Pass& pass,
                               const typename N::Record& record) {
  { net.record(tensor, c_noise, conditioning, pass) } -> std::same_as<typename N::Record>;
  { record.output } -> std::convertible_to<typename N::Backend::Tensor>;
  { net.backward(record, tensor) } -> std::same_as<std::optional<typename N::Backend::Tensor>>;
};

/// A network that can be trained and averaged; `clone` copies everything.
template <class N>
concept TrainableNetwork = Network<N> && HasParameters<N> && HasBackward<N> && std::movable<N> &&
    requires(const N& net) {
  { net.clone() } -> std::same_as<N>;
};

}  // namespace patchdiff
