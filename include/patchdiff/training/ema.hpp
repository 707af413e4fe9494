// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/average_info.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/training/weight_average.hpp>

namespace patchdiff {

/// How far an EMA looks back.
struct EMAOptions {
  double halflife_images = 500'000;  ///< images after which a weight's share has halved, > 0
  double rampup_ratio = 0.05;        ///< at most this share of the images seen so far is the half-life; infinity: off
};

/// An exponential moving average of a model's weights, timed in true images seen.
///
/// Source: EDM (arXiv 2206.00364), appendix F.2; beta = 0.5^(images / min(halflife, ratio images seen)).
template <Backend B>
class EMA : public WeightAverage<B> {
 public:
  /// Starts from the model's weights as they are; `state` says how many images it has seen.
  ///
  /// Errors: ConfigError for settings that cannot work.
  template <HasParameters Net>
  explicit EMA(Net& net, EMAOptions options = {}, const TrainState& state = {})
      : WeightAverage<B>("EMA", net, state,
                         {.kind = AverageKind::halflife,
                          .halflife_images = options.halflife_images,
                          .rampup_ratio = std::isfinite(options.rampup_ratio) ? options.rampup_ratio : 0}),
        options_(options) {
    require<ConfigError>(options.halflife_images > 0 && std::isfinite(options.halflife_images), "EMA",
                         "halflife_images", "a finite value > 0", options.halflife_images);
    require<ConfigError>(options.rampup_ratio > 0, "EMA", "rampup_ratio", "a value > 0", options.rampup_ratio);
  }

  /// Takes in the weights after a step; `state` is the run's state after it.
  ///
  /// Errors: DataError for a state with fewer images than the last one.
  template <HasParameters Net>
  void update(Net& net, const TrainState& state) {
    this->advance(net, state, [&](double before, double now) {
      const double halflife = std::min(options_.halflife_images, options_.rampup_ratio * before);
      return std::pow(0.5, (now - before) / std::max(halflife, 1e-8));
    });
  }

 private:
  EMAOptions options_;
};

}  // namespace patchdiff
