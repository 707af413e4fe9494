// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// Moves parameters against their gradients.
///
/// `step(net, finite)` allocates what it needs before its first write. An optimiser of `obeys_flag` leaves parameters
/// and its own state as they are where the device flag `finite` is 0; others ignore the flag.
template <class O, class Net>
concept Optimizer = HasParameters<Net> &&
    requires(O& optimizer, Net& net, const typename Net::Backend::Tensor& finite, double rate) {
  optimizer.step(net, finite);
  optimizer.set_learning_rate(rate);
  { O::obeys_flag } -> std::convertible_to<bool>;
};

/// Sets every gradient to zero.
template <HasParameters Net>
void zero_gradients(Net& net) {
  using B = typename Net::Backend;
  net.visit_parameters([](auto, typename B::Tensor&, typename B::Tensor& gradient) { B::set_zero(gradient); });
}

}  // namespace patchdiff
