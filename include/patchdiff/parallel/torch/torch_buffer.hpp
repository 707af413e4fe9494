// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/parallel/process_group.hpp>

namespace patchdiff {

/// What LibTorch's tensors are copied to in order to be summed in one message, on their device.
///
/// A group that sums tensors gets this one, and nothing waits for the host. Others get the host's memory, in float64
/// where the tensors are that and else in float32; tensors of another device take a copy there and back.
class TorchBuffer {
 public:
  static std::int64_t bytes_per_element(const TorchDevice& device) {
    return static_cast<std::int64_t>(c10::elementSize(device.scalar));
  }

  TorchBuffer(std::int64_t elements, const TorchDevice& device) : values_(at::empty({elements}, device.options())) {}

  void set_zero() { values_.zero_(); }

  void write(std::int64_t first, const at::Tensor& tensor) {
    const at::NoGradGuard no_grad;
    part(first, tensor).copy_(tensor, /*non_blocking=*/true);
  }

  void read(std::int64_t first, at::Tensor& tensor) const {
    const at::NoGradGuard no_grad;
    tensor.copy_(part(first, tensor), /*non_blocking=*/true);
  }

  template <ProcessGroup G>
  typename G::Sum start_sum(G& group) {
    if constexpr (requires { group.start_sum(values_); }) {
      return group.start_sum(values_);
    } else {
      host_ = values_.to(at::kCPU, values_.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
      const auto count = static_cast<std::size_t>(host_.numel());
      if (host_.scalar_type() == at::kDouble) return group.start_sum(std::span(host_.data_ptr<double>(), count));
      return group.start_sum(std::span(host_.data_ptr<float>(), count));
    }
  }

  template <ProcessGroup G>
  void wait(G& group, typename G::Sum& sum, std::string_view what) {
    group.wait(sum, what);
    if (host_.defined() && !host_.is_same(values_)) values_.copy_(host_, /*non_blocking=*/true);
  }

 private:
  /// The elements of a tensor, with its shape.
  at::Tensor part(std::int64_t first, const at::Tensor& tensor) const {
    return values_.narrow(0, first, tensor.numel()).view(tensor.sizes());
  }

  at::Tensor values_;
  at::Tensor host_{};  ///< what a group without tensors sums; `values_` itself where that will do
};

}  // namespace patchdiff
