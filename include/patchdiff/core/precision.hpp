// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include <patchdiff/core/named_enum.hpp>

namespace patchdiff {

/// The scalar type in which a network's convolutions and matrix products run.
///
/// Weights, sigma, the loss and the sum that forms the denoised image stay in float32 or better. float16 has few
/// exponents: small gradients are zero in it, unless training has a loss scale.
enum class Precision { float32, bfloat16, float16 };

constexpr std::array<NamedValue<Precision>, 3> value_names(Precision) noexcept {
  return {{{Precision::float32, "float32"}, {Precision::bfloat16, "bfloat16"}, {Precision::float16, "float16"}}};
}

}  // namespace patchdiff
