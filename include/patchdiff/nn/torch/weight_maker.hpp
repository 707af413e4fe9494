// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/torch/torch_parameters.hpp>

namespace patchdiff::unet {

/// How initial weights are drawn: uniformly within sqrt(6 / (fan in + fan out)), biases zero (`xavier`), or weights and
/// biases within 1 / sqrt(fan in) (`fan_in`).
enum class Initialization { xavier, fan_in };

/// Draws the initial weights of a network and hands them to it, layer by layer; without a key, what would be drawn is
/// left unset.
///
/// Draws: tensor number t that is drawn uses the stream `Purpose::initial_weights` t.
struct WeightMaker {
  TorchParameters& network;
  std::optional<RandomKey> key;
  Initialization initialization = Initialization::xavier;
  TorchDevice device = network.device();
  std::vector<at::Tensor> weights{};  ///< all that were made so far
  std::uint64_t drawn = 0;

  struct Layer {
    at::Tensor weight;
    at::Tensor bias{};
  };

  /// A layer of weights [out, in, ...], drawn within `gain` times the bound.
  Layer layer(const std::string& name, const Shape& shape, double gain, bool with_bias = true) {
    const double fan_in = static_cast<double>(element_count(shape) / shape[0]);
    const double fan_out = static_cast<double>(element_count(shape) / shape[1]);
    const bool xavier = initialization == Initialization::xavier;
    const double bound = gain * (xavier ? std::sqrt(6 / (fan_in + fan_out)) : 1 / std::sqrt(fan_in));
    Layer made{parameter(name + ".weight", uniform(shape, bound))};
    if (with_bias) made.bias = parameter(name + ".bias", uniform({shape[0]}, xavier ? 0 : bound));
    return made;
  }

  at::Tensor constant(std::string name, std::int64_t size, double value) {
    return parameter(std::move(name), at::full({size}, value, device.options()));
  }

  at::Tensor parameter(std::string name, at::Tensor value) {
    weights.push_back(network.add_parameter(std::move(name), std::move(value)));
    return weights.back();
  }

  at::Tensor buffer(std::string name, at::Tensor value) {
    return network.add_buffer(std::move(name), std::move(value));
  }

  /// Drawn in float whatever the device's scalar type: it is the kernel of normals that training compiles anyway.
  at::Tensor normal(const Shape& shape, double deviation) {
    if (!key) return at::empty(shape, device.options());
    std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
    RandomStream(*key, Purpose::initial_weights, 0, drawn++).normals(std::span(values));
    for (float& value : values) value *= static_cast<float>(deviation);
    return TorchBackend::from_host(std::span<const float>(values), shape, device);
  }

 private:
  at::Tensor uniform(const Shape& shape, double bound) {
    if (!key) return at::empty(shape, device.options());
    if (bound == 0) return at::zeros(shape, device.options());
    const RandomStream stream(*key, Purpose::initial_weights, 0, drawn++);
    std::vector<double> values(static_cast<std::size_t>(element_count(shape)));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = bound * (2 * stream.uniform(i) - 1);
    return TorchBackend::from_host(std::span<const double>(values), shape, device);
  }
};

}  // namespace patchdiff::unet
