// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/average_info.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/training/power_profile.hpp>
#include <patchdiff/training/state_names.hpp>
#include <patchdiff/training/weight_average.hpp>

namespace patchdiff {

/// Width of a PowerEMA.
struct PowerEMAOptions {
  double relative_width = 0.1;  ///< standard deviation of the average's weight as a share of the run, in (0, 0.288]
};

/// A power-function average of a model's weights, timed in true images seen: its length grows with the run.
///
/// Snapshots of two of them make averages of any other width after the run: see `post_hoc_average`.
/// Source: EDM2 (arXiv 2312.02696), equations 2 and 127; beta = (1 - images / images seen)^(gamma + 1).
template <Backend B>
class PowerEMA : public WeightAverage<B> {
 public:
  /// Starts from the model's weights as they are; `state` says how many images it has seen.
  ///
  /// Errors: ConfigError for a width that no PowerProfile has.
  template <HasParameters Net>
  explicit PowerEMA(Net& net, PowerEMAOptions options = {}, const TrainState& state = {})
      : WeightAverage<B>("PowerEMA", net, state,
                         {.kind = AverageKind::power, .relative_width = options.relative_width}),
        options_(options),
        gamma_(PowerProfile::gamma_of(options.relative_width)) {}

  /// Takes in the weights after a step; `state` is the run's state after it.
  ///
  /// Errors: DataError for a state with fewer images than the last one.
  template <HasParameters Net>
  void update(Net& net, const TrainState& state) {
    this->advance(net, state, [&](double before, double now) {
      return now > before ? std::pow(before / now, gamma_ + 1) : 1.0;  // 1 - images / now
    });
  }

  /// What the average is of, once it has been updated; a snapshot is this and `apply_to(denoiser.clone())`.
  PowerProfile profile() const { return {options_.relative_width, this->images()}; }

 private:
  PowerEMAOptions options_;
  double gamma_;
};

/// Gives a model the power-function average of any width, at any moment up to the last snapshot.
///
/// `snapshot(k)` returns the model of `profiles[k]`, a value or a reference; models are held one at a time. The closer
/// the snapshots lie and the more widths they have, the closer it is; of a stored profile it is exact. Sums in double
/// on the host. Errors: as of `post_hoc_shares`; ConfigError for a snapshot with other tensors than `net`.
/// Source: EDM2 (arXiv 2312.02696), section 3.2.
template <HasState Net, class Snapshot>
Net post_hoc_average(Net net, std::span<const PowerProfile> profiles, const PowerProfile& target, Snapshot&& snapshot) {
  using B = typename Net::Backend;
  using Tensor = typename B::Tensor;
  const std::vector<double> shares = post_hoc_shares(profiles, target);
  const StateNames names(net);
  std::vector<std::vector<double>> sums(names.size());
  for (std::size_t k = 0; k < shares.size(); ++k) {
    if (shares[k] == 0) continue;
    auto&& model = snapshot(k);
    names.visit(model, "post_hoc_average", [&](std::size_t index, Tensor& tensor) {
      const std::vector<double> values = B::to_host(tensor);
      sums[index].resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) sums[index][i] += shares[k] * values[i];
    });
  }
  names.visit(net, "post_hoc_average", [&](std::size_t index, Tensor& value) {
    B::assign(value, B::from_host(std::span<const double>(sums[index]), B::shape(value), B::device(value)));
  });
  const AverageInfo info{
      .kind = AverageKind::power, .relative_width = target.relative_width(), .images = target.images()};
  if constexpr (requires { net.note_average(info); }) net.note_average(info);
  return net;
}

}  // namespace patchdiff
