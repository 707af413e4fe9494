// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

/// A network that may be kept from its coordinates, two channels after those of the image: it sees zeros instead, at
/// the same cost.
template <patchdiff::TrainableNetwork Net>
class UnplacedNetwork {
 public:
  using Backend = patchdiff::TorchBackend;
  using Record = typename Net::Record;

  UnplacedNetwork(Net network, bool placed) : network_(std::move(network)), placed_(placed) {}

  at::Tensor operator()(const at::Tensor& input, std::span<const double> c_noise,
                        const patchdiff::Conditioning<Backend>& conditioning, const patchdiff::Pass& pass) const {
    return network_(seen(input), c_noise, conditioning, pass);
  }
  Record record(const at::Tensor& input, std::span<const double> c_noise,
                const patchdiff::Conditioning<Backend>& conditioning, const patchdiff::Pass& pass) {
    return network_.record(seen(input), c_noise, conditioning, pass);
  }
  std::optional<at::Tensor> backward(const Record& record, const at::Tensor& cotangent) {
    return network_.backward(record, cotangent);
  }

  template <class F>
  void visit_parameters(F&& visit) {
    network_.visit_parameters(std::forward<F>(visit));
  }
  template <class F>
  void visit_state(F&& visit) {
    network_.visit_state(std::forward<F>(visit));
  }
  UnplacedNetwork clone() const { return {network_.clone(), placed_}; }

  std::int64_t input_channels() const { return network_.input_channels(); }
  std::int64_t output_channels() const { return network_.output_channels(); }
  std::int64_t label_dim() const { return network_.label_dim(); }
  std::int64_t size_divisor() const { return network_.size_divisor(); }
  patchdiff::TorchDevice device() const { return network_.device(); }

 private:
  at::Tensor seen(const at::Tensor& input) const {
    if (placed_) return input;
    const std::int64_t channels = input.size(1) - 2;
    return at::cat({input.narrow(1, 0, channels), at::zeros_like(input.narrow(1, channels, 2))}, 1);
  }

  Net network_;
  bool placed_;
};
