// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include <patchdiff/core/named_enum.hpp>

namespace patchdiff {

/// How a network on LibTorch computes attention: by LibTorch's fused kernel, from LibTorch 2.0 on, or by matrix
/// products, which take memory for the square of the pixels and have second derivatives. The results are the same.
enum class Attention { fused, plain };

constexpr std::array<NamedValue<Attention>, 2> value_names(Attention) noexcept {
  return {{{Attention::fused, "fused"}, {Attention::plain, "plain"}}};
}

}  // namespace patchdiff
