// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/average_info.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/training/state_names.hpp>

namespace patchdiff {

/// A running average of a model's weights, timed in true images seen; a base of EMA and PowerEMA, which say how it
/// decays.
template <Backend B>
class WeightAverage {
 public:
  using Backend = B;
  using Tensor = typename B::Tensor;

  /// The averages, by the names of the weights.
  template <class F>
  void visit_state(F&& f) {
    for (std::size_t index = 0; index < names_.size(); ++index) f(std::string_view(names_[index]), averages_[index]);
  }

  /// average = beta average + (1 - beta) weights.
  ///
  /// Errors: ConfigError for a beta outside of [0, 1], and for another model than the average started from.
  template <HasParameters Net>
  void blend(Net& net, double beta) {
    require<ConfigError>(beta >= 0 && beta <= 1, component_, "beta", "a value in [0, 1]", beta);
    names_.visit(net, component_,
                 [&](std::size_t index, Tensor& value) { B::blend(averages_[index], value, 1 - beta); });
  }

  /// Gives the model the averaged weights: `ema.apply_to(denoiser.clone())`; a denoiser notes which they are.
  template <HasParameters Net>
  Net apply_to(Net net) const {
    if constexpr (requires { net.clone(); }) {
      static_assert(std::is_same_v<decltype(net.clone()), Net>,
                    "patchdiff: this model refers to a network of others: ema.apply_to(denoiser.clone())");
    }
    names_.visit(net, component_, [&](std::size_t index, Tensor& value) { B::assign(value, averages_[index]); });
    if constexpr (requires { net.note_average(info_); }) net.note_average(info_);
    return net;
  }

  /// Goes on with averages of a run that has come to `state`: what `Checkpoint::restore` says when it has read them.
  /// They are taken to have been updated then, so update averages before a checkpoint.
  void resume(const TrainState& state) noexcept { info_.images = state.images; }

  /// Images seen at the last update.
  std::uint64_t images() const noexcept { return info_.images; }

 protected:
  WeightAverage(WeightAverage&&) noexcept = default;  // a copy would share tensors
  WeightAverage& operator=(WeightAverage&&) noexcept = default;
  ~WeightAverage() = default;

  /// Starts from the model's weights as they are; `component` is the name in errors.
  template <HasParameters Net>
  WeightAverage(std::string_view component, Net& net, const TrainState& state, AverageInfo info)
      : component_(component), names_(net), info_(info) {
    info_.images = state.images;
    net.visit_state([&](std::string_view, Tensor& value) { averages_.push_back(B::clone(value)); });
  }

  /// Takes in the weights after a step by the factor beta(images before it, images after it).
  template <class Net, class Decay>
  void advance(Net& net, const TrainState& state, Decay&& beta) {
    if (state.images < images()) {
      refuse<DataError>(component_, "state", str("at least ", images(), " images, as at the last update"),
                        str(state.images));
    }
    blend(net, beta(static_cast<double>(images()), static_cast<double>(state.images)));
    info_.images = state.images;
  }

 private:
  std::string_view component_;
  StateNames names_;
  std::vector<Tensor> averages_{};
  AverageInfo info_;
};

}  // namespace patchdiff
