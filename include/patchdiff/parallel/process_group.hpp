// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <span>
#include <string_view>

namespace patchdiff {

/// The processes of a run, as one of them sees them: what it takes to add numbers of all of them.
///
/// `start_sum(values)` begins to replace the values by the sum over all processes and returns at once; they may be
/// neither read nor written before `wait(sum, what)` has returned. Every process starts the same sums in the same
/// order, and gets the same bits. `wait` throws a ProcessError that names `what` where a process is lost or does not
/// answer within the group's time-out; the group can then no longer be used.
///
/// A group that sums a backend's tensors where they are also has `start_sum(tensor)`, as C10dProcessGroup does.
template <class G>
concept ProcessGroup = requires(G& group, const G& unchanged, std::span<float> floats, std::span<double> doubles,
                                typename G::Sum& sum, std::string_view what) {
  { unchanged.rank() } -> std::same_as<int>;
  { unchanged.size() } -> std::same_as<int>;
  { group.start_sum(floats) } -> std::same_as<typename G::Sum>;
  { group.start_sum(doubles) } -> std::same_as<typename G::Sum>;
  group.wait(sum, what);
};

}  // namespace patchdiff
