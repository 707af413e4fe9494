// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/eigen/convolution.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/linear.hpp>
#include <patchdiff/nn/eigen/norm_silu.hpp>
#include <patchdiff/nn/eigen/weights.hpp>

namespace patchdiff::layers {

/// The number of groups that a layer of that many channels is normalised over; a group has 4 channels.
inline std::int64_t group_count(std::int64_t channels) { return channels / 4; }

/// x plus two convolutions of it, each behind a norm and SiLU; the embedding gives the second norm's scale and shift.
template <class Scalar>
class ResidualBlock {
 public:
  /// What `backward` needs of a call.
  struct Record {
    NormSilu<Scalar> first, second;
    Column<Scalar> embedding;
  };

  ResidualBlock(WeightList<Scalar>& weights, const std::string& name, std::int64_t channels,
                std::int64_t embedding_channels, RandomKey key)
      : norm_scale_(weights.constant(name + ".norm.weight", channels, 1)),
        norm_shift_(weights.constant(name + ".norm.bias", channels, 0)),
        first_(weights, name + ".conv0", channels, channels, 3, key),
        affine_(weights, name + ".affine", embedding_channels, 2 * channels, key),
        second_(weights, name + ".conv1", channels, channels, 3, key, near_zero) {}

  FeatureMap<Scalar> operator()(const FeatureMap<Scalar>& x, const Column<Scalar>& embedding, Record& record) const {
    const std::int64_t channels = x.channels(), groups = group_count(channels);
    record.embedding = embedding;
    record.first = NormSilu<Scalar>(x, groups, norm_scale_.column(), norm_shift_.column());
    const Column<Scalar> affine = affine_(embedding);
    record.second = NormSilu<Scalar>(first_(record.first.output()), groups, Scalar(1) + affine.head(channels),
                                     affine.tail(channels));
    FeatureMap<Scalar> y = second_(record.second.output());
    y.values += x.values;
    return y;
  }

  /// Adds the gradients of <y, slope> to those of the weights and of the embedding; returns that of x.
  FeatureMap<Scalar> backward(const Record& record, const FeatureMap<Scalar>& slope, Column<Scalar>& embedding_slope,
                              Column<Scalar>& gradients) const {
    const auto second = record.second.backward(second_.backward(record.second.output(), slope, gradients));
    Column<Scalar> affine(2 * slope.channels());
    affine << second.scale, second.shift;
    embedding_slope += affine_.backward(record.embedding, affine, gradients);
    auto first = record.first.backward(first_.backward(record.first.output(), second.x, gradients));
    norm_scale_.gradient_column(gradients) += first.scale;
    norm_shift_.gradient_column(gradients) += first.shift;
    first.x.values += slope.values;
    return std::move(first.x);
  }

 private:
  static constexpr double near_zero = 1e-5;  ///< gain of layers that start as almost nothing

  Weight<Scalar> norm_scale_, norm_shift_;
  Convolution<Scalar> first_;
  Linear<Scalar> affine_;
  Convolution<Scalar> second_;
};

}  // namespace patchdiff::layers
