// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/training/training_cost.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>

#include "support/catch.hpp"

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<float>;

TEST_CASE("a progressive run costs what its sizes cost, one after the other") {
  const PatchSizeSchedule schedule = PatchSizeSchedule::progressive({.image = {8, 8}}, 1000);
  REQUIRE(schedule.sizes().size() == 3);
  const TrainingCost cost(schedule, {1, 10, 100});  // shares 0.2, 0.3 and 0.5, from small to large
  CHECK(cost.left(0) == Approx(0.2 * 1 + 0.3 * 10 + 0.5 * 100));
  CHECK(cost.left(0.1) == Approx(0.1 * 1 + 0.3 * 10 + 0.5 * 100));
  CHECK(cost.left(0.35) == Approx(0.15 * 10 + 0.5 * 100));
  CHECK(cost.left(0.75) == Approx(0.25 * 100));
  CHECK(cost.left(1) == Approx(0).margin(1e-12));
}

TEST_CASE("what is left is corrected by how the run has gone") {
  const PatchSizeSchedule schedule = PatchSizeSchedule::progressive({.image = {8, 8}}, 1000);
  const TrainingCost cost(schedule, {1, 10, 100});
  const double first_half = 0.2 * 1 + 0.3 * 10, second_half = 0.5 * 100;
  CHECK(cost.seconds_left(0, 0.5, 1000 * first_half) == Approx(1000 * second_half));
  CHECK(cost.seconds_left(0, 0.5, 3 * 1000 * first_half) == Approx(3 * 1000 * second_half));
  CHECK(cost.seconds_left(0.5, 0.75, 7) == Approx(7));
  CHECK(cost.seconds_left(0.5, 1, 7) == Approx(0).margin(1e-12));
  CHECK(cost.seconds_left(0.5, 0.5, 0) == 0);
}

TEST_CASE("a run is as long as its time allows") {
  const PatchSizeSchedule schedule = PatchSizeSchedule::progressive({.image = {8, 8}}, 1000);
  const TrainingCost cost(schedule, {1, 10, 100});  // 53.2 seconds for an image of a long run
  CHECK(cost.images_in(53.2 * 400 + 1) == 400);
  CHECK(cost.images_in(53.2 * 400 - 1) == 399);
  CHECK(cost.images_in(0) == 1);
  CHECK(cost.images_in(-7, 20) == 20);
  // The second half of 1,000 images is whole ones.
  CHECK(cost.images_in(50'000.5, 500) == 1000);
  CHECK(cost.images_in(1e300) > 1'000'000'000'000);
}

TEST_CASE("what is left of a run takes no longer than its time, and one image more would") {
  const PatchSizeSchedule schedule = PatchSizeSchedule::progressive({.image = {8, 8}}, 1000);
  const TrainingCost cost(schedule, {1, 10, 100});
  const auto left = [&](std::uint64_t images, std::uint64_t seen) {
    return static_cast<double>(images) * cost.left(static_cast<double>(seen) / static_cast<double>(images));
  };
  for (const std::uint64_t seen : {1, 10, 99, 1000}) {
    for (const double seconds : {0.5, 3.0, 99.0, 1e3, 2e4, 5e6}) {
      const std::uint64_t images = cost.images_in(seconds, seen);
      REQUIRE(images >= seen);
      CHECK(left(images, seen) <= seconds);
      CHECK(left(images + 1, seen) > seconds);
    }
  }
}

TEST_CASE("a stochastic run costs the same all along, by images and not by steps") {
  const PatchSizeSchedule schedule = PatchSizeSchedule::stochastic_of(
      {.image = {8, 8},
       .sizes = {{4, 4}, {8, 8}},
       .probabilities = {0.5, 0.5},
       .multiplier = {"four", [](ImageSize, ImageSize size) { return size.height == 4 ? 4 : 1; }}});
  const TrainingCost cost(schedule, {1, 10});
  CHECK(cost.left(0) == Approx(0.8 * 1 + 0.2 * 10));
  CHECK(cost.left(0.75) == Approx(0.25 * cost.left(0)));
}

/// Hands out the same images for ever, and counts them.
struct Images {
  ImageBatch<B> take(const PatchPlan& plan) {
    taken += plan.images;
    return {.images = random_tensor<B>({plan.images, 1, 8, 8}, 1)};
  }
  std::int64_t taken = 0;
};

TEST_CASE("sizes are measured by steps of a copy; a size that is never taken costs nothing") {
  DenoiserWrapper denoiser{host::PixelwiseNetwork<B>({.in_channels = 3, .out_channels = 1}, {1}), {.image = {1, 8, 8}}};
  const auto weights = [&] {
    std::vector<double> all;
    denoiser.visit_state([&](std::string_view, B::Tensor& value) {
      for (const double number : B::to_host(value)) all.push_back(number);
    });
    return all;
  };
  const std::vector<double> before = weights();
  Images images;
  const std::vector<double> seconds = measured_seconds_per_image(
      denoiser, images,
      {.schedule = PatchSizeSchedule::stochastic({.image = {8, 8}, .full_image_probability = 0}), .batch = 2});
  REQUIRE(seconds.size() == 3);
  CHECK(seconds[0] == 0);  // full images
  CHECK(seconds[1] > 0);
  CHECK(seconds[2] > 0);
  CHECK(images.taken == 4 * (2 * 2 + 2 * 4));  // four steps of each other size, of 2 and 4 times the batch
  CHECK(weights() == before);
}

/// A clock that only `Timed` moves.
struct TestClock {
  static std::chrono::steady_clock::time_point now() { return time; }
  static inline std::chrono::steady_clock::time_point time{};
};

/// Hands out images, each of which takes a second.
struct Timed : Images {
  ImageBatch<B> take(const PatchPlan& plan) {
    TestClock::time += std::chrono::seconds(plan.images);
    return Images::take(plan);
  }
};

TEST_CASE("an image's time does not depend on how many images a step of its size takes") {
  DenoiserWrapper denoiser{host::PixelwiseNetwork<B>({.in_channels = 3, .out_channels = 1}, {1}), {.image = {1, 8, 8}}};
  for (const MultiplierRule& rule :
       {MultiplierRule::published(), MultiplierRule::constant(1), MultiplierRule::constant(3)}) {
    Timed images;
    CHECK(measured_seconds_per_image<TestClock>(
              denoiser, images,
              {.schedule = PatchSizeSchedule::stochastic({.image = {8, 8}, .multiplier = rule}), .batch = 2}) ==
          std::vector<double>{1, 1, 1});
  }
}

TEST_CASE("a run's cost needs a time for each size that it takes") {
  CHECK_ERROR(ConfigError, "TrainingCost: seconds_per_image: expected 3 values, one per size, got 2",
              TrainingCost(PatchSizeSchedule::stochastic({.image = {8, 8}}), {1, 2}));
  const PatchSizeSchedule halves = PatchSizeSchedule::stochastic({.image = {8, 8}, .full_image_probability = 0});
  CHECK_NOTHROW(TrainingCost(halves, {0, 1, 2}));
  for (const double wrong : {0.0, -1.0, HUGE_VAL}) {
    CHECK_THROWS_AS(TrainingCost(halves, {0, wrong, 2}), ConfigError);
  }
  CHECK_ERROR(ConfigError,
              "TrainingCost: seconds_per_image: expected above 0 and finite for sizes of the schedule, got 0",
              TrainingCost(PatchSizeSchedule::stochastic({.image = {8, 8}}), {1, 2, 0}));
  CHECK_ERROR(ConfigError,
              "TrainingCost: seconds_per_image: expected above 0 and finite for sizes of the schedule, got -3",
              TrainingCost(halves, {-3, 1, 2}));
}

}  // namespace
}  // namespace patchdiff
