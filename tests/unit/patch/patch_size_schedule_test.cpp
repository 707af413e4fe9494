// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/patch/multiplier_rule.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"

namespace patchdiff {
namespace {

using Sizes = std::vector<ImageSize>;
using Multipliers = std::vector<std::int64_t>;

void check_values(const std::vector<double>& values, const std::vector<double>& expected) {
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(values[i] == Approx(expected[i]).margin(1e-15));
}

TEST_CASE("the published mixtures") {
  const auto three = PatchSizeSchedule::stochastic({.image = {64, 64}, .full_image_probability = 0.5});
  CHECK(three.sizes() == Sizes{{64, 64}, {32, 32}, {16, 16}});
  check_values(three.probabilities(), {0.5, 0.3, 0.2});
  CHECK(three.multipliers() == Multipliers{1, 2, 4});
  CHECK_FALSE(three.is_progressive());

  const auto two = PatchSizeSchedule::stochastic_latents({.image = {32, 32}, .full_image_probability = 0.25});
  CHECK(two.sizes() == Sizes{{32, 32}, {16, 16}});
  check_values(two.probabilities(), {0.25, 0.75});

  const auto rising = PatchSizeSchedule::progressive({.image = {30, 50}, .full_image_probability = 0.5}, 1000);
  CHECK(rising.sizes() == Sizes{{7, 12}, {15, 25}, {30, 50}});
  check_values(rising.probabilities(), {0.2, 0.3, 0.5});
  CHECK(rising.is_progressive());
  CHECK(rising.image() == ImageSize{30, 50});
}

TEST_CASE("sizes of the host's own; no probabilities means equal ones") {
  const Sizes sizes{{8, 8}, {4, 6}, {8, 2}};
  const auto uniform = PatchSizeSchedule::stochastic_of({.image = {8, 8}, .sizes = sizes});
  check_values(uniform.probabilities(), {1.0 / 3, 1.0 / 3, 1.0 / 3});
  const auto rising =
      PatchSizeSchedule::progressive_of({.image = {8, 8}, .sizes = sizes, .probabilities = {0.5, 0.3, 0.2}}, 100);
  CHECK(rising.sizes() == Sizes{{8, 2}, {4, 6}, {8, 8}});
  check_values(rising.probabilities(), {0.2, 0.3, 0.5});
}

TEST_CASE("batch multipliers by rule") {
  const MultiplierRule published = MultiplierRule::published();
  const auto of = [](const MultiplierRule& rule, std::int64_t image) {
    return Multipliers{rule({image, image}, {image, image}), rule({image, image}, {image / 2, image / 2}),
                       rule({image, image}, {image / 4, image / 4})};
  };
  CHECK(of(published, 512) == Multipliers{1, 2, 4});
  CHECK(of(published, 256) == Multipliers{1, 2, 8});
  CHECK(of(published, 128) == Multipliers{1, 4, 8});
  CHECK(of(published, 64) == Multipliers{1, 2, 4});
  CHECK(of(published, 32) == Multipliers{1, 2, 4});  // 8 is not in the table: 32 / 8
  CHECK(of(published, 16) == Multipliers{1, 2, 4});  // nor are 8 and 4
  CHECK(of(published, 96) == Multipliers{1, 2, 4});  // nor is 96
  CHECK(published({100, 100}, {30, 30}) == 3);
  CHECK(published({64, 32}, {16, 8}) == 4);  // by the longer side, 64
  CHECK(published({32, 256}, {16, 64}) == 8);

  CHECK(of(MultiplierRule::equal_pixels(), 64) == Multipliers{1, 4, 16});
  CHECK(MultiplierRule::equal_pixels()({30, 50}, {7, 12}) == 17);
  CHECK(of(MultiplierRule::constant(3), 64) == Multipliers{3, 3, 3});
  const MultiplierRule own{"rows", [](ImageSize image, ImageSize patch) { return image.height / patch.height; }};
  CHECK(of(own, 64) == Multipliers{1, 2, 4});
  CHECK(own.name() == "rows");
  CHECK(published.name() == "published");
}

// False-alarm rate: about 1e-6.
TEST_CASE("stochastic sizes come as often as their probabilities say, one per step") {
  const auto schedule = PatchSizeSchedule::stochastic({.image = {64, 64}, .full_image_probability = 0.5});
  constexpr std::uint64_t steps = 40'000;
  std::vector<double> counts(3);
  double images = 0, pixels = 0;
  for (std::uint64_t step = 0; step < steps; ++step) {
    const PatchPlan plan = schedule.plan({.seed = 12, .step = step, .images = 17 * step}, 10);
    const auto chosen = static_cast<std::size_t>(
        std::find(schedule.sizes().begin(), schedule.sizes().end(), plan.patch) - schedule.sizes().begin());
    REQUIRE(chosen < 3);
    REQUIRE(plan.images == 10 * schedule.multipliers()[chosen]);
    REQUIRE(plan.first_image == 17 * step);
    REQUIRE(plan.step == step);
    REQUIRE(plan.key == RandomKey{12});
    ++counts[chosen];
    images += static_cast<double>(plan.images);
    pixels += static_cast<double>(plan.images * pixel_count(plan.patch));
  }
  CHECK(chi_square(counts, {0.5 * steps, 0.3 * steps, 0.2 * steps}) < largest_chi_square(3));
  // Deviations of a step's multiplier (1.9 on average) and of its pixels over those of a full step (0.7).
  CHECK(std::abs(images / 10 / steps - 1.9) < largest_z * std::sqrt(4.9 - 1.9 * 1.9) / std::sqrt(steps));
  CHECK(std::abs(pixels / 10 / 4096 / steps - 0.7) < largest_z * std::sqrt(0.5875 - 0.49) / std::sqrt(steps));
}

TEST_CASE("a plan is a function of seed, step and images seen") {
  const auto schedule = PatchSizeSchedule::stochastic({.image = {64, 64}});
  const auto patches = [&](std::uint64_t seed, std::uint64_t images) {
    Sizes sizes;
    for (std::uint64_t step = 0; step < 50; ++step) {
      sizes.push_back(schedule.plan({.seed = seed, .step = step, .images = images}, 1).patch);
    }
    return sizes;
  };
  CHECK(patches(1, 0) == patches(1, 999));
  CHECK(patches(1, 0) != patches(2, 0));
}

TEST_CASE("progressive sizes change at the cumulative probabilities of the run's images") {
  const auto schedule = PatchSizeSchedule::progressive({.image = {64, 64}, .full_image_probability = 0.5}, 1000);
  const auto side_at = [&](std::uint64_t images) {
    return schedule.plan({.seed = images, .step = images, .images = images}, 1).patch.height;
  };
  CHECK(side_at(0) == 16);
  CHECK(side_at(200) == 16);
  CHECK(side_at(201) == 32);
  CHECK(side_at(500) == 32);
  CHECK(side_at(501) == 64);
  CHECK(side_at(1000) == 64);
  CHECK(side_at(5000) == 64);
}

TEST_CASE("sizes of probability 0 never come") {
  const auto full = PatchSizeSchedule::progressive({.image = {64, 64}, .full_image_probability = 1}, 10);
  CHECK(full.plan({}, 1).patch == ImageSize{64, 64});
  const auto never = PatchSizeSchedule::progressive({.image = {64, 64}, .full_image_probability = 0}, 10);
  CHECK(never.plan({.images = 10}, 1).patch == ImageSize{32, 32});
  CHECK(never.plan({.images = 100}, 1).patch == ImageSize{32, 32});
}

TEST_CASE("sizes are rounded to what the network needs") {
  const auto rounded = PatchSizeSchedule::stochastic({.image = {28, 28}, .size_divisor = 4});
  CHECK(rounded.sizes() == Sizes{{28, 28}, {12, 12}, {4, 4}});
  CHECK(rounded.multipliers() == Multipliers{1, 2, 7});  // of patches as they are taken
  CHECK(PatchSizeSchedule::stochastic({.image = {8, 24}, .size_divisor = 4}).sizes() ==
        Sizes{{8, 24}, {4, 12}, {4, 4}});
  CHECK(PatchSizeSchedule::stochastic_of({.image = {30, 30}, .sizes = {{15, 11}}, .size_divisor = 4}).sizes() ==
        Sizes{{12, 8}});
  CHECK(PatchSizeSchedule::progressive({.image = {28, 28}, .size_divisor = 4}, 10).sizes() ==
        Sizes{{4, 4}, {12, 12}, {28, 28}});
  // An image that the network cannot take whole may still lend its patches.
  CHECK(PatchSizeSchedule::stochastic({.image = {30, 30}, .full_image_probability = 0, .size_divisor = 4}).sizes()[1] ==
        ImageSize{12, 12});
  CHECK_ERROR(ConfigError,
              "PatchSizeSchedule::stochastic: image: expected sides divisible by 4, as the network needs, got 30x28",
              PatchSizeSchedule::stochastic({.image = {30, 28}, .size_divisor = 4}));
  CHECK_ERROR(ConfigError,
              "PatchSizeSchedule::stochastic_of: image: expected sides divisible by 8, as the network needs, got 6x16",
              PatchSizeSchedule::stochastic_of({.image = {6, 16}, .sizes = {{4, 8}}, .size_divisor = 8}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic: size_divisor: expected at least 1, got 0",
              PatchSizeSchedule::stochastic({.image = {8, 8}, .size_divisor = 0}));
}

TEST_CASE("patches of the smallest images have at least one pixel") {
  CHECK(PatchSizeSchedule::stochastic({.image = {3, 3}, .full_image_probability = 1}).sizes() ==
        Sizes{{3, 3}, {1, 1}, {1, 1}});
  CHECK(PatchSizeSchedule::stochastic({.image = {1, 64}}).sizes() == Sizes{{1, 64}, {1, 32}, {1, 16}});
}

TEST_CASE("schedules refuse settings that cannot work") {
  const auto of = [](PatchSizes sizes) { return PatchSizeSchedule::stochastic_of(std::move(sizes)); };
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: image: expected at least one pixel, got 0x8",
              of({.image = {0, 8}, .sizes = {{1, 1}}}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: sizes: expected at least one size, got none",
              of({.image = {8, 8}}));
  CHECK_ERROR(
      ConfigError,
      "PatchSizeSchedule::stochastic_of: sizes: expected patches of at least one pixel, got 0x1 for an image of 2x3",
      of({.image = {2, 3}, .sizes = {{0, 1}}}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: sizes: expected patches of at most 8x8, got 4x9",
              of({.image = {8, 8}, .sizes = {{4, 9}}}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: probabilities: expected 2 values, one per size, got 1",
              of({.image = {8, 8}, .sizes = {{8, 8}, {4, 4}}, .probabilities = {1}}));
  CHECK_ERROR(
      ConfigError, "PatchSizeSchedule::progressive_of: probabilities: expected 2 values, one per size, got 1",
      PatchSizeSchedule::progressive_of({.image = {8, 8}, .sizes = {{8, 8}, {4, 4}}, .probabilities = {1}}, 10));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: probabilities: expected values in [0, 1], got -0.5",
              of({.image = {8, 8}, .sizes = {{8, 8}, {4, 4}}, .probabilities = {-0.5, 1.5}}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: probabilities: expected values in [0, 1], got nan",
              of({.image = {8, 8}, .sizes = {{8, 8}}, .probabilities = {std::numeric_limits<double>::quiet_NaN()}}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic_of: probabilities: expected a sum of 1, got 0.75",
              of({.image = {8, 8}, .sizes = {{8, 8}, {4, 4}}, .probabilities = {0.5, 0.25}}));
  CHECK_ERROR(ConfigError, "PatchMixture: full_image_probability: expected a value in [0, 1], got 1.5",
              PatchSizeSchedule::stochastic({.image = {64, 64}, .full_image_probability = 1.5}));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::progressive: total_images: expected at least 1, got 0",
              PatchSizeSchedule::progressive({.image = {64, 64}}, 0));
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::progressive_of: total_images: expected at least 1, got 0",
              PatchSizeSchedule::progressive_of({.image = {8, 8}, .sizes = {{8, 8}}}, 0));
  CHECK_ERROR(ConfigError, "MultiplierRule: multiplier: expected at least 1, got 0", MultiplierRule::constant(0));
  const MultiplierRule zero{"zero", [](ImageSize, ImageSize) { return std::int64_t{0}; }};
  CHECK_ERROR(ConfigError, "PatchSizeSchedule::stochastic: multiplier: expected at least 1, got 0 for patches of 64x64",
              PatchSizeSchedule::stochastic({.image = {64, 64}, .multiplier = zero}));
}

}  // namespace
}  // namespace patchdiff
