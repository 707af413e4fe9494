// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// Adam with bias correction.
///
/// Its state is kept by parameter name, where and in the scalar type in which the parameters are at the first step. A
/// checkpoint that is to be loaded before that needs `prepare` first.
/// Source: Kingma and Ba (arXiv 1412.6980), Algorithm 1.
template <Backend B>
class Adam {
 public:
  using Backend = B;
  using Tensor = typename B::Tensor;
  static constexpr bool obeys_flag = true;

  /// Errors: ConfigError for settings that cannot work.
  explicit Adam(AdamSettings settings = {}) : settings_(settings) {
    require<ConfigError>(settings.learning_rate >= 0 && std::isfinite(settings.learning_rate), "Adam", "learning_rate",
                         "a finite value >= 0", settings.learning_rate);
    require<ConfigError>(settings.beta1 >= 0 && settings.beta1 < 1, "Adam", "beta1", "a value in [0, 1)",
                         settings.beta1);
    require<ConfigError>(settings.beta2 >= 0 && settings.beta2 < 1, "Adam", "beta2", "a value in [0, 1)",
                         settings.beta2);
    require<ConfigError>(settings.epsilon > 0 && std::isfinite(settings.epsilon), "Adam", "epsilon",
                         "a finite value > 0", settings.epsilon);
  }

  Adam(Adam&&) noexcept = default;  // a copy would share tensors
  Adam& operator=(Adam&&) noexcept = default;
  ~Adam() = default;

  /// Updates every parameter, or none where `finite` is 0; the count of steps then stands still too.
  ///
  /// Errors: as of `prepare`, before anything is written.
  template <class Net>
  void step(Net& net, const Tensor& finite) {
    prepare(net);
    if (count_) B::accumulate(*count_, finite);
    std::size_t index = 0;
    net.visit_parameters([&](std::string_view, Tensor& value, Tensor& gradient) {
      Moments& moments = moments_[index++];
      B::adam_update(value, moments.mean, moments.square, gradient, *count_, finite, settings_);
    });
  }

  /// Allocates the state for a network, with zeros; later calls only check that it is the same network.
  ///
  /// Errors: ConfigError for parameters of other names or shapes than at the first call.
  template <class Net>
  void prepare(Net& net) {
    if (!count_) allocate(net);
    std::size_t index = 0;
    net.visit_parameters([&](std::string_view name, Tensor& value, Tensor&) {
      if (index >= moments_.size() || moments_[index].name != name) refuse_net(str('"', name, '"'));
      const Shape shape = B::shape(value);
      if (moments_[index].shape != shape) refuse_net(str('"', name, "\" of ", to_string(shape)));
      ++index;
    });
    if (index != moments_.size()) refuse_net(str(index, " of ", moments_.size(), " parameters"));
  }

  /// The moments of each parameter and the count of steps, once there are some.
  template <class F>
  void visit_state(F&& f) {
    for (Moments& moments : moments_) {
      f(str("mean.", moments.name), moments.mean);
      f(str("square.", moments.name), moments.square);
    }
    if (count_) f("count", *count_);
  }

  void set_learning_rate(double rate) {
    require<ConfigError>(rate >= 0 && std::isfinite(rate), "Adam", "learning_rate", "a finite value >= 0", rate);
    settings_.learning_rate = rate;
  }

  const AdamSettings& settings() const noexcept { return settings_; }

 private:
  struct Moments {
    std::string name;
    Shape shape;
    Tensor mean;
    Tensor square;
  };

  template <class Net>
  void allocate(Net& net) {
    moments_.clear();
    net.visit_parameters([&](std::string_view name, Tensor& value, Tensor&) {
      const Shape shape = B::shape(value);
      const Tensor zeros = B::zeros(shape, B::device(value));
      moments_.push_back({std::string(name), shape, zeros, B::clone(zeros)});
    });
    if (moments_.empty()) return;
    count_ = B::finite_flag(std::array{moments_.front().mean});  // of the flag's scalar type, as they are added
    B::set_zero(*count_);
  }

  [[noreturn]] static void refuse_net(std::string_view got) {
    refuse<ConfigError>("Adam", "net", "the parameters of the first step", got);
  }

  AdamSettings settings_;
  std::vector<Moments> moments_;
  std::optional<Tensor> count_;
};

}  // namespace patchdiff
