// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// One weight and one constant buffer.
struct Weight {
  using Backend = B;
  B::Tensor value = filled<B>({1}, 0), gradient = filled<B>({1}, 0), buffer = filled<B>({1}, 5);

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    visit(std::string_view("weight"), value, gradient);
  }
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    visit(std::string_view("weight"), value);
    visit(std::string_view("buffer"), buffer);
  }
};

double averaged(const EMA<B>& ema) {
  const Weight model = ema.apply_to(Weight{});
  CHECK(model.buffer.values[0] == 5);
  return model.value.values[0];
}

// Copies would share tensors.
static_assert(!std::is_copy_constructible_v<EMA<B>> && std::is_nothrow_move_constructible_v<EMA<B>>);
static_assert(!std::is_copy_constructible_v<Adam<B>> && std::is_nothrow_move_constructible_v<Adam<B>>);

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST_CASE("after the half-life half of the average is new, in however many steps") {
  for (const int steps : {1, 4, 1000}) {
    Weight net;
    EMA<B> ema(net, {.halflife_images = 1000, .rampup_ratio = infinity});
    net.value.values[0] = 8;
    TrainState state;
    for (int step = 0; step < steps; ++step) {
      state.images += static_cast<std::uint64_t>(1000 / steps);
      ema.update(net, state);
    }
    CHECK(averaged(ema) == Approx(4).epsilon(1e-10));
    state.images = 3000;
    ema.update(net, state);
    CHECK(averaged(ema) == Approx(7).epsilon(1e-10));
    CHECK(net.value.values[0] == 8);
  }
}

TEST_CASE("early in a run the half-life is a share of the images seen") {
  Weight net;
  EMA<B> ema(net, {.halflife_images = 500, .rampup_ratio = 0.1});
  double expected = 0;
  TrainState state;
  for (int step = 1; step <= 20; ++step) {
    const double before = static_cast<double>(state.images);
    state.images += 400;
    net.value.values[0] = step;
    ema.update(net, state);
    const double halflife = std::min(500.0, 0.1 * before);
    const double beta = halflife == 0 ? 0 : std::pow(0.5, 400 / halflife);
    expected = beta * expected + (1 - beta) * step;
    CHECK(averaged(ema) == Approx(expected).epsilon(1e-12));
  }
}

TEST_CASE("a resumed average knows the images seen before") {
  Weight net;
  EMA<B> ema(net, {.halflife_images = 100, .rampup_ratio = 0.05}, {.images = 10'000});
  net.value.values[0] = 8;
  ema.update(net, {.images = 10'100});
  CHECK(averaged(ema) == Approx(4).epsilon(1e-12));
}

TEST_CASE("blending by a factor of the host's own") {
  Weight net;
  EMA<B> ema(net);
  net.value.values[0] = 10;
  ema.blend(net, 0.75);
  CHECK(averaged(ema) == Approx(2.5));
}

/// A model with a second weight, or with none.
struct Other : Weight {
  bool empty = false;
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    if (empty) return;
    visit(std::string_view("weight"), value);
    visit(std::string_view("bias"), buffer);
  }
};

TEST_CASE("EMA refuses settings that cannot work, other models and states of the past") {
  Weight net;
  const auto make = [&](EMAOptions options) { return EMA<B>(net, options); };
  CHECK_ERROR(ConfigError, "EMA: halflife_images: expected a finite value > 0, got 0", make({.halflife_images = 0}));
  CHECK_ERROR(ConfigError, "EMA: halflife_images: expected a finite value > 0, got inf",
              make({.halflife_images = infinity}));
  CHECK_ERROR(ConfigError, "EMA: rampup_ratio: expected a value > 0, got -0.5", make({.rampup_ratio = -0.5}));
  CHECK_ERROR(ConfigError, "EMA: rampup_ratio: expected a value > 0, got nan",
              make({.rampup_ratio = std::numeric_limits<double>::quiet_NaN()}));

  EMA<B> ema(net, {}, {.images = 100});
  Other other;
  other.value.values[0] = 3;
  CHECK_ERROR(ConfigError, "EMA: net: expected a model with the tensors of the average, got \"bias\"",
              ema.blend(other, 0));
  other.empty = true;
  CHECK_ERROR(ConfigError, "EMA: net: expected a model with the tensors of the average, got 0 of 2 tensors",
              ema.apply_to(other));
  Weight longer;
  longer.value = filled<B>({2}, 3);
  CHECK_ERROR(ConfigError, "EMA: net: expected a model with the tensors of the average, got \"weight\" of [2]",
              ema.blend(longer, 0));
  for (const double beta : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_ERROR(ConfigError, fmt::format("EMA: beta: expected a value in [0, 1], got {}", beta), ema.blend(net, beta));
  }
  CHECK_ERROR(DataError, "EMA: state: expected at least 100 images, as at the last update, got 99",
              ema.update(net, {.images = 99}));
  CHECK(averaged(ema) == 0);
}

}  // namespace
}  // namespace patchdiff
