// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/trainer.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Model = DenoiserWrapper<host::PixelwiseNetwork<B>>;

constexpr ImageShape image{2, 8, 6};

/// 37 images of noise, whole or in patches.
struct Images {
  std::int64_t size() const { return 37; }
  ImageShape shape() const { return image; }
  void read(std::int64_t index, std::span<float> out) const {
    RandomStream({7}, Purpose::data_order, 0, static_cast<std::uint64_t>(index)).normals(out);
  }
  void read_patch(std::int64_t index, const Place& place, ImageSize patch, std::span<float> out) const {
    std::vector<float> whole(static_cast<std::size_t>(image.channels * pixel_count(image.size())));
    read(index, whole);
    auto pixel = out.begin();
    for (std::int64_t line = 0; line < image.channels * patch.height; ++line) {
      const std::int64_t row = line / patch.height * image.height + place.top + line % patch.height;
      for (std::int64_t column = 0; column < patch.width; ++column) {
        *pixel++ = whole[static_cast<std::size_t>(row * image.width + place.left + column)];
      }
    }
  }
};

TrainStepOptions step_options(NonFinite policy = NonFinite::fail) {
  return {.schedule = PatchSizeSchedule::stochastic({.image = image.size()}), .batch = 5, .non_finite = policy};
}

/// A run from the same start each time.
struct Run {
  Model denoiser{host::PixelwiseNetwork<B>({.in_channels = 2 + 2, .out_channels = 2}, {1}), {.image = image}};
  Adam<B> adam{{.learning_rate = 0.01}};
  TrainState state{.seed = 9};

  std::vector<double> weights() {
    std::vector<double> all;
    denoiser.visit_state(
        [&](auto, B::Tensor& value) { all.insert(all.end(), value.values.begin(), value.values.end()); });
    return all;
  }
};

template <class Loader>
void check_parts(Loader& loader) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  Run by_hand, whole;
  const TrainStep<B> step(step_options());
  std::vector<std::vector<double>> losses;
  for (int i = 0; i < 12; ++i) {
    const PatchPlan plan = step.plan(by_hand.state);
    losses.push_back(
        B::to_host(step(by_hand.denoiser, by_hand.adam, loader.take(plan), plan, by_hand.state).per_sample));
  }
  for (const std::optional<std::int64_t> micro_batch : {std::optional<std::int64_t>{}, {1}, {2}, {5}, {99}, {most}}) {
    Run run;
    Trainer trainer(run.denoiser, run.adam, loader, run.state, {.step = step_options(), .micro_batch = micro_batch});
    for (int i = 0; i < 12; ++i) {
      const std::vector<double> got = B::to_host(trainer.step().per_sample);
      REQUIRE(got.size() == losses[static_cast<std::size_t>(i)].size());
      for (std::size_t n = 0; n < got.size(); ++n) {
        CHECK(got[n] == Approx(losses[static_cast<std::size_t>(i)][n]).epsilon(1e-10));
      }
    }
    CHECK(run.state == by_hand.state);
    const std::vector<double> expected = by_hand.weights(), got = run.weights();
    for (std::size_t n = 0; n < got.size(); ++n) CHECK(got[n] == Approx(expected[n]).epsilon(1e-10));
    if (!micro_batch || *micro_batch >= 5) CHECK(got == expected);
  }
}

TEST_CASE("the Trainer takes the steps of TrainStep, and parts of them add up") {
  const Images images;
  SECTION("of images") {
    Loader<B, Images> loader(images, {}, {.seed = 9, .prefetch = 16});
    check_parts(loader);
  }
  SECTION("of patches") {
    PatchLoader<B, Images> loader(images, {}, {.seed = 9});
    check_parts(loader);
  }
  SECTION("of mirrored images") {
    Loader<B, Images> loader(images, {}, {.seed = 9, .workers = 2, .augmentation = {.x_flip = true}});
    check_parts(loader);
  }
  SECTION("of mirrored patches") {
    PatchLoader<B, Images> loader(images, {}, {.seed = 9, .augmentation = {.x_flip = true}});
    check_parts(loader);
  }
}

/// A host's loader, which notes what it is asked for; images of step `broken` and on are not finite.
struct Noting {
  std::uint64_t broken = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t whole_again = std::numeric_limits<std::uint64_t>::max();
  std::vector<std::int64_t> counts{};

  ImageBatch<B> take(const PatchPlan& plan, std::uint64_t first_sample, std::int64_t count) {
    counts.push_back(count);
    const bool bad = plan.step >= broken && plan.step < whole_again;
    return {.images = filled<B>({count, 2, 8, 6}, bad ? std::numeric_limits<double>::quiet_NaN() : 0.5),
            .first_sample = first_sample};
  }
};

TEST_CASE("parts of smaller patches have more images") {
  Run run;
  Noting loader;
  TrainStepOptions step = step_options();
  step.schedule = PatchSizeSchedule::progressive({.image = image.size()}, 60);
  Trainer trainer(run.denoiser, run.adam, loader, run.state, {.step = std::move(step), .micro_batch = 2});
  trainer.run(60, [](const StepReport<B>&) { return Flow::proceed; });
  CHECK(loader.counts ==  // steps of 20 and 10 images, then of 5
        std::vector<std::int64_t>{8, 8, 4, 4, 4, 2, 4, 4, 2, 2, 2, 1, 2, 2, 1, 2, 2, 1, 2, 2, 1});
}

/// An optimiser that notes its rates.
struct RateNoting {
  static constexpr bool obeys_flag = true;
  std::vector<double> rates{};
  template <class Net>
  void step(Net&, const B::Tensor&) {}
  void set_learning_rate(double rate) { rates.push_back(rate); }
};

TEST_CASE("a run ends with its images, or where the callback stops it, and goes on from there") {
  Run run;
  Noting loader;
  RateNoting optimizer;
  TrainStepOptions step = step_options();
  step.schedule = PatchSizeSchedule::stochastic_of({.image = image.size(), .sizes = {image.size()}});
  Trainer trainer(run.denoiser, optimizer, loader, run.state,
                  {.step = std::move(step),
                   .learning_rate = [](std::uint64_t images) { return static_cast<double>(images) / 100; }});
  int steps = 0;
  trainer.run(18, [&](const StepReport<B>& report) {
    CHECK(report.plan.step == static_cast<std::uint64_t>(steps));
    return ++steps == 2 ? Flow::stop : Flow::proceed;
  });
  CHECK(steps == 2);
  CHECK(run.state.images == 10);
  trainer.run(18, [&](const StepReport<B>&) { return ++steps, Flow::proceed; });
  CHECK(steps == 4);
  CHECK(run.state.images == 20);
  trainer.run(18, [&](const StepReport<B>&) { return ++steps, Flow::proceed; });
  CHECK(steps == 4);
  CHECK(optimizer.rates == std::vector<double>{0, 0.05, 0.1, 0.15});
}

TEST_CASE("steps that are not finite are left out, but not for ever") {
  Run run;
  Noting loader{.broken = 2, .whole_again = 5};
  Trainer trainer(run.denoiser, run.adam, loader, run.state,
                  {.step = step_options(NonFinite::skip), .max_consecutive_skips = 3});
  const auto steps = [&](int count) {
    for (int i = 0; i < count; ++i) trainer.step();
  };
  steps(6);
  CHECK(run.state.skipped == 3);
  loader = {.broken = 6};
  steps(3);
  try {
    trainer.step();
    FAIL("a fourth step in a row was left out");
  } catch (const NumericError& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(message.rfind("Trainer: max_consecutive_skips: expected at most 3, got 4 in a row: ", 0) == 0);
    CHECK(message.find("at step 9 (patches of ") != std::string::npos);
  }
  CHECK(run.state.skipped == 7);
  CHECK(run.state.step == 10);
}

TEST_CASE("Trainer refuses settings that cannot work") {
  Run run;
  Noting loader;
  const auto make = [&](std::int64_t micro_batch) {
    Trainer trainer(run.denoiser, run.adam, loader, run.state, {.step = step_options(), .micro_batch = micro_batch});
  };
  CHECK_ERROR(ConfigError, "Trainer: micro_batch: expected at least 1, got 0", make(0));
}

}  // namespace
}  // namespace patchdiff
