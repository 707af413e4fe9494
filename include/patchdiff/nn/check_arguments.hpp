// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/conditioning.hpp>

namespace patchdiff::unet {

/// Checks what a network is called with. Errors: ShapeError of the component `network` for what does not fit.
template <class Net>
void check_arguments(std::string_view network, const Net& net, const typename Net::Tensor& input,
                     std::span<const double> c_noise, const Conditioning<typename Net::Backend>& conditioning) {
  using B = typename Net::Backend;
  const Shape shape = B::shape(input);
  const std::int64_t divisor = net.size_divisor();
  if (shape.size() != 4 || shape[1] != net.input_channels() || shape[2] < 1 || shape[3] < 1 ||
      shape[2] % divisor != 0 || shape[3] % divisor != 0) {
    refuse<ShapeError>(network, "input",
                       str("[N, ", net.input_channels(), ", h, w] with h and w divisible by ", divisor),
                       to_string(shape));
  }
  if (static_cast<std::int64_t>(c_noise.size()) != shape[0]) {
    refuse<ShapeError>(network, "c_noise", str(shape[0], " values"), str(c_noise.size()));
  }
  const auto require_rows = [&](std::string_view argument, const std::optional<typename Net::Tensor>& rows,
                                std::int64_t width) {
    if (!rows) return;
    const Shape expected{shape[0], width}, got = B::shape(*rows);
    if (got != expected) refuse<ShapeError>(network, argument, to_string(expected), to_string(got));
  };
  require_rows("class_labels", conditioning.class_labels, net.label_dim());
  if constexpr (requires { net.augment_dim(); }) {
    require_rows("augment_labels", conditioning.augment_labels, net.augment_dim());
  }
}

}  // namespace patchdiff::unet
