// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/silu.hpp>

namespace patchdiff::layers {

/// The derivative of `silu`.
template <class Array>
auto silu_slope(const Array& x) {
  using Scalar = typename Array::Scalar;
  const Column<Scalar> sigmoid = (Scalar(1) + (-x).exp()).inverse();
  return Column<Scalar>(sigmoid * (Scalar(1) + x * (Scalar(1) - sigmoid)));
}

/// silu(scale x' + shift), where x' is x with mean 0 and variance 1 over each group of channels.
///
/// Keeps what its gradient needs.
template <class Scalar>
class NormSilu {
 public:
  struct Slopes {
    FeatureMap<Scalar> x;
    Column<Scalar> scale, shift;
  };

  NormSilu() = default;

  /// Shapes: scale and shift hold one number per channel; `groups` divides the channels.
  NormSilu(const FeatureMap<Scalar>& x, std::int64_t groups, Column<Scalar> scale, Column<Scalar> shift)
      : normalized_(x.channels(), x.size),
        deviation_(groups),
        scale_(std::move(scale)),
        shift_(std::move(shift)),
        output_(x.channels(), x.size) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const auto in = of_group(x, group);
      auto out = of_group(normalized_, group);
      out = in - in.mean();
      deviation_[group] = std::sqrt(out.square().mean() + Scalar(epsilon));
      out /= deviation_[group];
    }
    for (std::int64_t channel = 0; channel < x.channels(); ++channel) {
      output_.values.row(channel) = silu(normalized_.values.row(channel) * scale_[channel] + shift_[channel]);
    }
  }

  const FeatureMap<Scalar>& output() const noexcept { return output_; }

  /// The gradients of <output, slope>.
  Slopes backward(const FeatureMap<Scalar>& slope) const {
    const std::int64_t channels = slope.channels();
    Slopes slopes{FeatureMap<Scalar>(channels, slope.size), Column<Scalar>(channels), Column<Scalar>(channels)};
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      const auto normalized = normalized_.values.row(channel).transpose();
      const Column<Scalar> shifted = slope.values.row(channel).transpose() *
                                     silu_slope(Column<Scalar>(normalized * scale_[channel] + shift_[channel]));
      slopes.scale[channel] = (shifted * normalized).sum();
      slopes.shift[channel] = shifted.sum();
      slopes.x.values.row(channel) = shifted.transpose() * scale_[channel];
    }
    for (std::int64_t group = 0; group < deviation_.size(); ++group) {
      const auto normalized = of_group(normalized_, group);
      auto out = of_group(slopes.x, group);
      const Scalar along = (out * normalized).mean();
      out = (out - out.mean() - normalized * along) / deviation_[group];
    }
    return slopes;
  }

 private:
  static constexpr double epsilon = 1e-6;

  /// The numbers of a group: they lie in one piece.
  auto of_group(const FeatureMap<Scalar>& x, std::int64_t group) const {
    const std::int64_t count = x.values.size() / deviation_.size();
    return Column<Scalar>::Map(x.values.data() + group * count, count);
  }
  auto of_group(FeatureMap<Scalar>& x, std::int64_t group) const {
    const std::int64_t count = x.values.size() / deviation_.size();
    return Column<Scalar>::Map(x.values.data() + group * count, count);
  }

  FeatureMap<Scalar> normalized_;
  Column<Scalar> deviation_;  ///< of each group
  Column<Scalar> scale_, shift_;
  FeatureMap<Scalar> output_;
};

}  // namespace patchdiff::layers
