// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/optimizer.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// Two parameters, and nothing else of a network.
struct Parameters {
  using Backend = B;
  struct Parameter {
    std::string name;
    B::Tensor value, gradient;
  };
  std::vector<Parameter> all{{"a", tensor<B>({2}, {1, -2}), filled<B>({2}, 0)},
                             {"b", tensor<B>({1, 2}, {0.5, 3}), filled<B>({1, 2}, 0)}};

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    for (Parameter& parameter : all) visit(std::string_view(parameter.name), parameter.value, parameter.gradient);
  }
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    for (Parameter& parameter : all) visit(std::string_view(parameter.name), parameter.value);
  }
  std::vector<double> values() const {
    std::vector<double> both = B::to_host(all[0].value);
    both.insert(both.end(), all[1].value.values.begin(), all[1].value.values.end());
    return both;
  }
  void set_gradients(const std::array<double, 4>& g) {
    all[0].gradient = tensor<B>({2}, {g[0], g[1]});
    all[1].gradient = tensor<B>({1, 2}, {g[2], g[3]});
  }
};

static_assert(Optimizer<Adam<B>, Parameters>);

const B::Tensor finite = filled<B>({}, 1), broken = filled<B>({}, 0);

std::array<double, 4> gradients_at(int step) {
  const double s = step;
  return {std::sin(s), 1e-3 * s, -5 + s, step % 3 == 0 ? 0 : 100 * std::cos(s)};
}

TEST_CASE("Adam is the published algorithm") {
  const AdamSettings settings{.learning_rate = 0.02, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-4};
  Adam<B> adam(settings);
  Parameters net;
  std::vector<double> expected = net.values();
  std::array<double, 4> m{}, v{};
  for (int step = 1; step <= 12; ++step) {
    const double rate = step <= 6 ? 0.02 : 0.005;
    adam.set_learning_rate(rate);
    const std::array<double, 4> g = gradients_at(step);
    net.set_gradients(g);
    adam.step(net, finite);
    for (std::size_t i = 0; i < 4; ++i) {
      m[i] = 0.8 * m[i] + 0.2 * g[i];
      v[i] = 0.95 * v[i] + 0.05 * g[i] * g[i];
      const double mean = m[i] / (1 - std::pow(0.8, step)), square = v[i] / (1 - std::pow(0.95, step));
      expected[i] -= rate * mean / (std::sqrt(square) + 1e-4);
      CHECK(net.values()[i] == Approx(expected[i]).epsilon(1e-12));
    }
  }
  CHECK(adam.settings().learning_rate == 0.005);
}

TEST_CASE("a step under a zero flag leaves no trace in weights and optimiser") {
  Adam<B> one, other;
  Parameters net, with_broken;
  for (int step = 1; step <= 4; ++step) {
    net.set_gradients(gradients_at(step));
    with_broken.set_gradients(gradients_at(step));
    one.step(net, finite);
    other.step(with_broken, finite);
    with_broken.set_gradients({std::numeric_limits<double>::quiet_NaN(), 1, 2, 3});
    other.step(with_broken, broken);
    CHECK(with_broken.values() == net.values());
  }
}

TEST_CASE("zero_gradients") {
  Parameters net;
  net.set_gradients({1, 2, std::numeric_limits<double>::quiet_NaN(), 4});
  zero_gradients(net);
  CHECK(B::to_host(net.all[0].gradient) == std::vector<double>{0, 0});
  CHECK(B::to_host(net.all[1].gradient) == std::vector<double>{0, 0});
}

TEST_CASE("Adam refuses settings that cannot work, and other parameters than those of its first step") {
  const auto make = [](AdamSettings settings) { return Adam<B>(settings); };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK_ERROR(ConfigError, "Adam: learning_rate: expected a finite value >= 0, got -1", make({.learning_rate = -1}));
  CHECK_ERROR(ConfigError, "Adam: learning_rate: expected a finite value >= 0, got inf",
              make({.learning_rate = infinity}));
  CHECK_ERROR(ConfigError, "Adam: beta1: expected a value in [0, 1), got 1", make({.beta1 = 1}));
  CHECK_ERROR(ConfigError, "Adam: beta2: expected a value in [0, 1), got -0.5", make({.beta2 = -0.5}));
  CHECK_ERROR(ConfigError, "Adam: epsilon: expected a finite value > 0, got 0", make({.epsilon = 0}));
  Adam<B> adam;
  CHECK_ERROR(ConfigError, "Adam: learning_rate: expected a finite value >= 0, got nan",
              adam.set_learning_rate(std::numeric_limits<double>::quiet_NaN()));

  Parameters net;
  adam.step(net, finite);
  const std::vector<double> before = net.values();
  net.set_gradients({1, 1, 1, 1});
  net.all[1].name = "c";
  CHECK_ERROR(ConfigError, "Adam: net: expected the parameters of the first step, got \"c\"", adam.step(net, finite));
  net.all[1].name = "b";
  net.all[1].value = filled<B>({2, 1}, 0);
  CHECK_ERROR(ConfigError, "Adam: net: expected the parameters of the first step, got \"b\" of [2, 1]",
              adam.step(net, finite));
  net.all[1].value = tensor<B>({1, 2}, {before[2], before[3]});
  net.all.push_back({"c", filled<B>({1}, 0), filled<B>({1}, 0)});
  CHECK_ERROR(ConfigError, "Adam: net: expected the parameters of the first step, got \"c\"", adam.step(net, finite));
  net.all.pop_back();
  CHECK(net.values() == before);
  adam.visit_state([](std::string_view name, B::Tensor& value) {
    if (name == "count") CHECK(B::to_host(value) == std::vector<double>{1});
  });
  net.all.pop_back();
  CHECK_ERROR(ConfigError, "Adam: net: expected the parameters of the first step, got 1 of 2 parameters",
              adam.step(net, finite));
}

}  // namespace
}  // namespace patchdiff
