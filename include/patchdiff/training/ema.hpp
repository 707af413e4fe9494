// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

struct EMAOptions {
  double halflife_images = 500'000;  ///< images after which a weight's share has halved, > 0
  double rampup_ratio = 0.05;        ///< at most this share of the images seen so far is the half-life; infinity: off
};

/// An exponential moving average of a model's weights, timed in true images seen.
///
/// Source: EDM (arXiv 2206.00364), appendix F.2; beta = 0.5^(images / min(halflife, ratio images seen)).
template <Backend B>
class EMA {
 public:
  using Backend = B;
  using Tensor = typename B::Tensor;

  /// Starts from the model's weights as they are; `state` says how many images it has seen.
  template <HasParameters Net>
  explicit EMA(Net& net, EMAOptions options = {}, const TrainState& state = {})
      : options_(options), images_(state.images) {
    if (!(options.halflife_images > 0)) {
      throw ConfigError("EMA", "halflife_images", "a value > 0", fmt::format("{}", options.halflife_images));
    }
    if (!(options.rampup_ratio > 0)) {
      throw ConfigError("EMA", "rampup_ratio", "a value > 0", fmt::format("{}", options.rampup_ratio));
    }
    net.visit_state(
        [&](std::string_view name, Tensor& value) { averages_.emplace_back(std::string(name), B::clone(value)); });
  }

  /// Takes in the weights after a step; `state` is the run's state after it.
  ///
  /// Errors: DataError for a state with fewer images than the last one.
  template <HasParameters Net>
  void update(Net& net, const TrainState& state) {
    if (state.images < images_) {
      throw DataError("EMA", "state", fmt::format("at least {} images, as at the last update", images_),
                      std::to_string(state.images));
    }
    const double images = static_cast<double>(state.images - images_);
    const double halflife = std::min(options_.halflife_images, options_.rampup_ratio * static_cast<double>(images_));
    blend(net, std::pow(0.5, images / std::max(halflife, 1e-8)));
    images_ = state.images;
  }

  /// The averages, by the names of the weights.
  template <class F>
  void visit_state(F&& f) {
    for (auto& [name, average] : averages_) f(std::string_view(name), average);
  }

  /// average = beta average + (1 - beta) weights.
  template <HasParameters Net>
  void blend(Net& net, double beta) {
    visit(*this, net, [&](Tensor& value, Tensor& average) { B::blend(average, value, 1 - beta); });
  }

  /// Gives the model the averaged weights: `ema.apply_to(denoiser.clone())`.
  template <HasParameters Net>
  Net apply_to(Net net) const {
    visit(*this, net, [](Tensor& value, const Tensor& average) { B::assign(value, average); });
    return net;
  }

 private:
  template <class Self, class Net, class F>
  static void visit(Self& self, Net& net, F&& f) {
    self.check(net);
    std::size_t index = 0;
    net.visit_state([&](std::string_view, Tensor& value) { f(value, self.averages_[index++].second); });
  }

  template <class Net>
  void check(Net& net) const {
    std::size_t index = 0;
    net.visit_state([&](std::string_view name, Tensor&) {
      if (index >= averages_.size() || averages_[index].first != name) refuse(fmt::format("\"{}\"", name));
      ++index;
    });
    if (index != averages_.size()) refuse(fmt::format("{} of {} tensors", index, averages_.size()));
  }

  [[noreturn]] static void refuse(std::string_view got) {
    throw ConfigError("EMA", "net", "the model that the average started from", got);
  }

  EMAOptions options_;
  std::uint64_t images_;
  std::vector<std::pair<std::string, Tensor>> averages_;
};

}  // namespace patchdiff
