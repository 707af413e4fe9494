// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/training/timed_length.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include <patchdiff/core/train_state.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>

#include "support/catch.hpp"

#include "support/errors.hpp"

namespace patchdiff {
namespace {

struct TestClock {
  using time_point = std::chrono::steady_clock::time_point;
  static time_point now() { return time; }
  static void pass(double seconds) {
    time += std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  }
  static inline time_point time{};
};

double now() { return std::chrono::duration<double>(TestClock::time.time_since_epoch()).count(); }

struct Outcome {
  double seconds = 0;
  double images = 0;
  std::map<std::int64_t, double> images_of;  // by the side of the patch
};

/// What an image takes of a patch of 8, 16 or 32.
const std::vector<double> costs{0.001, 0.002, 0.004};

/// A run of 300 seconds, where everything takes `slowdown(second)` times as long as it should.
Outcome run(const std::vector<double>& measured, const std::function<double(double)>& slowdown) {
  const auto schedule = [](std::uint64_t total) { return PatchSizeSchedule::progressive({.image = {32, 32}}, total); };
  TimedLength<TestClock> length(schedule(1), measured, 300);
  const double start = now();
  Outcome outcome;
  TrainState state;
  while (state.images < length.images()) {
    const PatchPlan plan = schedule(length.images()).plan(state, 16);
    const double cost = costs[plan.patch.height == 8 ? 0 : plan.patch.height == 16 ? 1 : 2];
    TestClock::pass(cost * static_cast<double>(plan.images) * slowdown(now() - start));
    ++state.step;
    state.images += static_cast<std::uint64_t>(plan.images);
    outcome.images += static_cast<double>(plan.images);
    outcome.images_of[plan.patch.height] += static_cast<double>(plan.images);
    length.update(plan);
  }
  outcome.seconds = now() - start;
  return outcome;
}

// Shares of 0.2, 0.3 and 0.5: 2.8 ms an image.
constexpr double undisturbed = 300 / 0.0028;

TEST_CASE("a run whose images cost what was measured is as long as planned") {
  const Outcome outcome = run(costs, [](double) { return 1.0; });
  CHECK(outcome.seconds == Approx(300).epsilon(0.001));
  CHECK(outcome.images == Approx(undisturbed).epsilon(0.001));
  CHECK(outcome.images_of.at(8) == Approx(0.2 * undisturbed).epsilon(0.01));
  CHECK(outcome.images_of.at(16) == Approx(0.3 * undisturbed).epsilon(0.01));
}

TEST_CASE("a run that turns out faster or slower than measured ends in time") {
  for (const double slowdown : {0.2, 0.7, 1.5, 5.0}) {
    INFO(slowdown);
    CHECK(run(costs, [&](double) { return slowdown; }).seconds == Approx(300).epsilon(0.01));
  }
}

TEST_CASE("a busy while leaves whole images their part of the run") {
  const auto whole_images = [](const std::vector<double>& measured, double begin) {
    Outcome outcome = run(measured, [&](double second) { return second >= begin && second < begin + 30 ? 5.0 : 1.0; });
    CHECK(outcome.seconds == Approx(300).epsilon(0.01));
    return outcome.images_of.at(32) / (0.5 * undisturbed * (270 + 30 / 5.0) / 300);
  };
  for (const double begin : {0.0, 100.0, 200.0}) {
    INFO(begin);
    CHECK(whole_images(costs, begin) == Approx(1).margin(0.1));
  }
  CHECK(whole_images({0.005, 0.01, 0.02}, 0) == Approx(1).margin(0.1));  // busy while images were measured, too
  CHECK(whole_images({0.005, 0.01, 0.004}, 0) == Approx(1).margin(0.1));
  CHECK(whole_images({0.001, 0.002, 0.02}, 0) == Approx(1).margin(0.1));
}

const PatchSizeSchedule whole = PatchSizeSchedule::stochastic({.image = {8, 8}, .full_image_probability = 1});

TEST_CASE("a length is planned anew every ten seconds, and never below the images seen") {
  TimedLength<TestClock> length(whole, {0.125, 0, 0}, 100);
  REQUIRE(length.images() == 800);
  CHECK(length.share(200) == 0.25);
  TestClock::pass(9);
  CHECK_FALSE(length.update({.patch = {8, 8}, .images = 36}));
  CHECK(length.images() == 800);
  TestClock::pass(1);
  CHECK(length.update({.patch = {8, 8}, .images = 4, .first_image = 36}));
  // Images took 1/4 s where 1/8 s was known: 90 / (3/16) = 480 more.
  CHECK(length.images() == 520);
  TestClock::pass(200);
  CHECK(length.update({.patch = {8, 8}, .images = 10, .first_image = 40}));
  CHECK(length.images() == 50);
}

TEST_CASE("a length counts steps on patches of its schedule only") {
  TimedLength<TestClock> length(whole, {0.1, 0, 0}, 100);
  CHECK_ERROR(ConfigError, "TimedLength: plan.patch: expected a size of the schedule, got 3x3",
              length.update({.patch = {3, 3}, .images = 1}));
}

}  // namespace
}  // namespace patchdiff
