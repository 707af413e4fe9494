// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/linear.hpp>
#include <patchdiff/nn/eigen/norm_silu.hpp>
#include <patchdiff/nn/eigen/silu.hpp>
#include <patchdiff/nn/eigen/weights.hpp>

namespace patchdiff::layers {

/// Tells a sample's noise level and class to the blocks: silu(B silu(A sines(c_noise) + L labels)).
///
/// The sines and cosines have `channels` / 2 frequencies from 1 to 16, evenly spaced in their logarithm.
template <class Scalar>
class NoiseEmbedding {
 public:
  /// What `backward` needs of a call.
  struct Record {
    Column<Scalar> sines, labels, inner, hidden, outer;
  };

  NoiseEmbedding(WeightList<Scalar>& weights, const std::string& name, std::int64_t channels, std::int64_t label_dim,
                 RandomKey key)
      : channels_(channels),
        noise_(weights, name + ".noise", channels, width(channels), key),
        outer_(weights, name + ".outer", width(channels), width(channels), key) {
    if (label_dim > 0) labels_.emplace(weights, name + ".labels", label_dim, width(channels), key);
  }

  /// The length of the result.
  static std::int64_t width(std::int64_t channels) noexcept { return 4 * channels; }

  Column<Scalar> operator()(double c_noise, Column<Scalar> labels, Record& record) const {
    record.sines = sines(c_noise);
    record.labels = std::move(labels);
    record.inner = noise_(record.sines);
    if (labels_) record.inner += (*labels_)(record.labels);
    record.hidden = silu(record.inner);
    record.outer = outer_(record.hidden);
    return silu(record.outer);
  }

  /// Adds the gradients of <result, slope> to those of the weights.
  void backward(const Record& record, const Column<Scalar>& slope, Column<Scalar>& gradients) const {
    const Column<Scalar> hidden = outer_.backward(record.hidden, slope * silu_slope(record.outer), gradients);
    const Column<Scalar> inner = hidden * silu_slope(record.inner);
    noise_.backward(record.sines, inner, gradients);
    if (labels_) labels_->backward(record.labels, inner, gradients);
  }

 private:
  Column<Scalar> sines(double c_noise) const {
    const std::int64_t half = channels_ / 2;
    Column<Scalar> values(2 * half);
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(16.0, static_cast<double>(i) / static_cast<double>(half - 1));
      values[i] = static_cast<Scalar>(std::sin(frequency * c_noise));
      values[half + i] = static_cast<Scalar>(std::cos(frequency * c_noise));
    }
    return values;
  }

  std::int64_t channels_;
  Linear<Scalar> noise_, outer_;
  std::optional<Linear<Scalar>> labels_;
};

}  // namespace patchdiff::layers
