// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/training/power_ema.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

/// A weight of four numbers.
struct Weights {
  using Backend = B;
  B::Tensor value = filled<B>({4}, 0), gradient = filled<B>({4}, 0);

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    visit(std::string_view("weights"), value, gradient);
  }
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    visit(std::string_view("weights"), value);
  }
};

std::vector<double> averaged(const PowerEMA<B>& ema) { return B::to_host(ema.apply_to(Weights{}).value); }

TEST_CASE("relative widths and their exponents") {
  CHECK(PowerProfile::gamma_of(0.05) == Approx(16.972199).epsilon(1e-7));
  CHECK(PowerProfile::gamma_of(0.10) == Approx(6.937204).epsilon(1e-7));
  CHECK(PowerProfile::gamma_of(0.15) == Approx(3.557869).epsilon(1e-7));
  CHECK(PowerProfile::gamma_of(std::sqrt(1.0 / 12)) == Approx(0).margin(1e-9));
  for (const double width : {1e-4, 0.003, 0.07, 0.2, 0.28}) {
    const double gamma = PowerProfile::gamma_of(width);
    CHECK(std::sqrt((gamma + 1) / ((gamma + 2) * (gamma + 2) * (gamma + 3))) == Approx(width).epsilon(1e-10));
  }
}

TEST_CASE("the share of the old average is that of the published formula") {
  Weights net;
  PowerEMA<B> ema(net, {.relative_width = 0.1}, {.images = 900});
  std::fill(net.value.values.begin(), net.value.values.end(), 1);
  ema.update(net, {.images = 1000});  // a tenth of the images seen
  CHECK(averaged(ema)[0] == Approx(1 - 0.4333247).epsilon(1e-7));
  ema.update(net, {.images = 1000});
  CHECK(averaged(ema)[0] == Approx(1 - 0.4333247).epsilon(1e-7));
  CHECK(ema.profile().images() == 1000);
  CHECK(ema.profile().relative_width() == 0.1);
}

TEST_CASE("the first update forgets the weights at the start, steps of any size make one average") {
  for (const std::uint64_t stride : {1U, 10U, 250U}) {
    Weights net;
    PowerEMA<B> ema(net, {.relative_width = 0.2});
    for (std::uint64_t images = 0; images < 1750; images += stride) {
      // Weights stand still for 250 images.
      std::fill(net.value.values.begin(), net.value.values.end(), static_cast<double>(1 + images / 250));
      ema.update(net, {.images = images + stride});
    }
    const double gamma = PowerProfile::gamma_of(0.2);
    double expected = 0;
    for (int part = 1; part <= 7; ++part) {
      expected += part * (std::pow(part / 7.0, gamma + 1) - std::pow((part - 1) / 7.0, gamma + 1));
    }
    CHECK(averaged(ema)[0] == Approx(expected).epsilon(1e-12));
  }
}

/// A run of 4,000 steps of 8 images: weights that approach a value, with noise of every step; snapshots of two widths.
struct ToyRun {
  static constexpr std::uint64_t batch = 8, steps = 4000, snapshot_every = 250;
  std::vector<PowerProfile> profiles{};
  std::vector<Weights> models{};
  std::vector<PowerEMA<B>> tracked{};
  static constexpr double tracked_widths[] = {0.06, 0.075, 0.15, 0.2};
  double spread = 0;  ///< of the weights in the last quarter around their mean

  ToyRun() {
    Weights net;
    std::vector<PowerEMA<B>> stored;
    for (const double width : {0.05, 0.1}) stored.emplace_back(net, PowerEMAOptions{width});
    for (const double width : tracked_widths) tracked.emplace_back(net, PowerEMAOptions{width});
    TrainState state{.seed = 3};
    double sum = 0, squares = 0;
    while (state.step < steps) {
      ++state.step;
      state.images += batch;
      const double time = static_cast<double>(state.step) / steps;
      for (std::size_t i = 0; i < 4; ++i) {
        const double noise = RandomStream({state.seed}, Purpose::dropout, state.step, i).uniform(0) - 0.5;
        net.value.values[i] = 1 + static_cast<double>(i) - std::exp(-3 * time) + 0.2 * std::sin(9 * time) + noise;
        if (time > 0.75 && i == 0) sum += net.value.values[i], squares += net.value.values[i] * net.value.values[i];
      }
      for (PowerEMA<B>& ema : stored) ema.update(net, state);
      for (PowerEMA<B>& ema : tracked) ema.update(net, state);
      if (state.step % snapshot_every != 0) continue;
      for (const PowerEMA<B>& ema : stored) {
        profiles.push_back(ema.profile());
        models.push_back(ema.apply_to(Weights{}));
      }
    }
    constexpr double count = steps / 4;
    spread = std::sqrt(squares / count - sum / count * sum / count);
  }

  std::vector<double> reconstructed(const PowerProfile& target) {
    return B::to_host(
        post_hoc_average(Weights{}, std::span<const PowerProfile>(profiles), target, [&](std::size_t k) -> Weights& {
          return models[k];
        }).value);
  }
};

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

TEST_CASE("an average that was stored is reconstructed exactly") {
  ToyRun run;
  for (const std::size_t k : {std::size_t{0}, run.profiles.size() / 2, run.profiles.size() - 1}) {
    const std::vector<double> shares = post_hoc_shares(run.profiles, run.profiles[k]);
    for (std::size_t i = 0; i < shares.size(); ++i) CHECK(shares[i] == Approx(i == k ? 1 : 0).margin(1e-9));
    CHECK(largest_difference(run.reconstructed(run.profiles[k]), B::to_host(run.models[k].value)) < 1e-9);
  }
}

// The weights' noise has a standard deviation of 0.29. Measured: errors of 7.7e-5 and 7.4e-5 between the stored widths,
// 1.9e-4 and 1.3e-3 beyond them, with 16 snapshots of two widths; shares whose sizes add up to less than 5.
TEST_CASE("averages of other widths come close to those that were tracked") {
  ToyRun run;
  CHECK(run.spread == Approx(0.29).margin(0.01));
  const double bounds[] = {1e-4, 1e-4, 3e-4, 2e-3};
  for (std::size_t i = 0; i < run.tracked.size(); ++i) {
    const PowerProfile target = run.tracked[i].profile();
    double size = 0;
    for (const double share : post_hoc_shares(run.profiles, target)) size += std::abs(share);
    CHECK(size < 5);
    CHECK(largest_difference(run.reconstructed(target), averaged(run.tracked[i])) < bounds[i]);
  }
}

TEST_CASE("snapshots that say nothing new do no harm") {
  const PowerProfile target{0.08, 900};
  const std::vector<PowerProfile> once{{0.05, 500}, {0.05, 1000}, {0.1, 500}, {0.1, 1000}};
  std::vector<PowerProfile> twice = once;
  twice.insert(twice.end(), once.begin(), once.end());
  const std::vector<double> shares = post_hoc_shares(once, target), joined = post_hoc_shares(twice, target);
  double sum = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(joined[i] + joined[i + 4] == Approx(shares[i]).epsilon(1e-9));
    sum += shares[i];
  }
  CHECK(sum == Approx(1).epsilon(1e-12));
}

/// A model with another weight.
struct Other : Weights {
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    visit(std::string_view("bias"), value);
  }
};

TEST_CASE("PowerEMA refuses widths that no profile has, other models and states of the past") {
  Weights net;
  const auto make = [&](double width) { return PowerEMA<B>(net, {.relative_width = width}); };
  CHECK_ERROR(ConfigError, "PowerProfile: relative_width: expected a value in (0, 1/sqrt(12)], got 0", make(0));
  CHECK_ERROR(ConfigError, "PowerProfile: relative_width: expected a value in (0, 1/sqrt(12)], got 0.3", make(0.3));
  CHECK_ERROR(ConfigError, "PowerProfile: relative_width: expected a value in (0, 1/sqrt(12)], got nan",
              make(std::numeric_limits<double>::quiet_NaN()));
  CHECK_ERROR(ConfigError, "PowerProfile: images: expected at least 1, got 0", make(0.1).profile());
  CHECK_ERROR(ConfigError, "post_hoc_shares: snapshots: expected at least one, got none",
              post_hoc_shares({}, PowerProfile{0.1, 1}));

  PowerEMA<B> ema(net, {}, {.images = 100});
  CHECK_ERROR(DataError, "PowerEMA: state: expected at least 100 images, as at the last update, got 99",
              ema.update(net, {.images = 99}));
  Other other;
  CHECK_ERROR(ConfigError, "PowerEMA: net: expected a model with the tensors of the average, got \"bias\"",
              ema.update(other, {.images = 101}));
  const std::vector<PowerProfile> profiles{ema.profile()};
  CHECK_ERROR(ConfigError, "post_hoc_average: net: expected a model with the tensors of the average, got \"bias\"",
              post_hoc_average(Weights{}, std::span<const PowerProfile>(profiles), profiles[0],
                               [](std::size_t) { return Other{}; }));
  CHECK_ERROR(ConfigError,
              "post_hoc_average: net: expected a model with the tensors of the average, got \"weights\" of [2, 2]",
              post_hoc_average(Weights{}, std::span<const PowerProfile>(profiles), profiles[0], [](std::size_t) {
                Weights square;
                square.value = filled<B>({2, 2}, 0);
                return square;
              }));
}

TEST_CASE("a target that no snapshot has anything to say of is refused") {
  const std::vector<PowerProfile> snapshots{{0.1, 1000}, {0.05, 500}};
  CHECK_ERROR(ConfigError, "post_hoc_shares: target: expected at most 1000 images, as of the last snapshot, got 2000",
              post_hoc_shares(snapshots, {0.1, 2000}));
  CHECK_ERROR(ConfigError,
              "post_hoc_shares: target: expected at most 1000 images, as of the last snapshot, got 1000000000",
              post_hoc_shares(snapshots, {0.01, 1'000'000'000}));
  CHECK(std::isfinite(post_hoc_shares(snapshots, {0.1, 1000}).front()));
  // A narrow snapshot forgot all that an early target is made of.
  CHECK_ERROR(ConfigError, "post_hoc_shares: snapshots: expected weights that the target has, got none",
              post_hoc_shares(std::vector<PowerProfile>{{1e-4, 1000}}, {0.1, 500}));
}

}  // namespace
}  // namespace patchdiff
