// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <ATen/ATen.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

#include "support/tensors.hpp"

namespace patchdiff {

/// Checks a denoiser's gradients in float64, by the noisy images and by each parameter, against central differences
/// along a direction of each; gives the number of parameters.
template <class D>
std::size_t check_gradients(D& denoiser, at::Tensor x, std::span<const double> sigma, const Places& places,
                            const Conditioning<TorchBackend>& told, const Pass& pass, const at::Tensor& cotangent) {
  using B = TorchBackend;
  const auto slope_along = [&](at::Tensor& moved, const at::Tensor& direction) {
    const at::Tensor before = moved.detach().clone();
    const double slope = central_difference([&](double step) {
      B::assign(moved, before + step * direction);
      return inner_product<B>(denoiser.record(x, sigma, places, told, pass).denoised, cotangent);
    });
    B::assign(moved, before);
    return slope;
  };
  const auto record = denoiser.record(x, sigma, places, told, pass);
  const std::optional<at::Tensor> of_input = denoiser.backward(record, cotangent);
  const at::Tensor direction = random_tensor<B>(B::shape(x), 7, B::device(x));
  CHECK(inner_product<B>(of_input.value(), direction) == Approx(slope_along(x, direction)).epsilon(1e-6));
  std::size_t checked = 0;
  denoiser.visit_parameters([&](std::string_view name, at::Tensor& value, at::Tensor& gradient) {
    CAPTURE(std::string(name));
    const at::Tensor along = random_tensor<B>(B::shape(value), 7, B::device(x));
    CHECK(inner_product<B>(gradient, along) == Approx(slope_along(value, along)).epsilon(1e-6).margin(1e-7));
    ++checked;
  });
  return checked;
}

}  // namespace patchdiff
