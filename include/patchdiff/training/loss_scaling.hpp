// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include <patchdiff/backend/backend.hpp>

namespace patchdiff {

/// What keeps small gradients from becoming zero in float16: the loss is scaled up, and the gradients back down.
///
/// `scaled` is what backward starts from; `unscale` brings a gradient back; `update(finite)`, after each step, moves
/// the scale by a flag that stays on the device.
template <class S, class B>
concept LossScaling = Backend<B> && requires(S& scale, const typename B::Tensor& x, typename B::Tensor& inout) {
  { scale.scaled(x) } -> std::same_as<typename B::Tensor>;
  scale.unscale(inout);
  scale.update(x);
};

/// No scale: what float32 and bfloat16 need.
struct NoLossScaling {};

}  // namespace patchdiff
