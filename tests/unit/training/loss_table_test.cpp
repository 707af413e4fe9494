// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/training_noise.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/loss_table.hpp>
#include <patchdiff/training/train_step.hpp>

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

Model model() { return {host::PixelwiseNetwork<B>({.in_channels = 2 + 2, .out_channels = 2}, {1}), {.image = image}}; }

/// A step's report of which only size, noise levels and losses matter.
StepReport<B> report_of(ImageSize patch, std::vector<double> sigma, const std::vector<double>& losses) {
  return {.plan = {.patch = patch},
          .sigma = std::move(sigma),
          .per_sample = tensor<B>({static_cast<std::int64_t>(losses.size())}, losses)};
}

TEST_CASE("the table's gradient norms are those of the loss's gradients, without a mask and with one of 0 and 1") {
  for (const Reduction reduction : {Reduction::sum, Reduction::mean}) {
    for (const bool masked : {false, true}) {
      const EDMLossOptions options{
          .weighting = Weighting("cubic", [](const Formulation&, double sigma) { return 2 + sigma * sigma * sigma; }),
          .reduction = reduction};
      const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic({.image = image.size()}), .loss = options});
      const PatchPlan plan{.patch = {4, 3}, .images = 7, .step = 3, .key = {5}};
      ImageBatch<B> batch{.images = random_tensor<B>({7, 2, 8, 6}, 1)};
      if (masked) {
        batch.mask = random_tensor<B>({7, 1, 8, 6}, 2);
        for (double& weight : batch.mask->values) weight = weight > 0 ? 1 : 0;
      }
      Model denoiser = model();
      const StepReport<B> report = step.gradients(denoiser, batch, plan);

      // The same step by its components.
      const PatchSampler<B> crop;
      const PatchBatch<B> patches = crop(batch, crop.places(plan, image.size(), 7));
      const std::vector<double> one(7, 1.0);
      const B::Tensor noise = training_noise<B>(plan, 0, patches.images.shape, {});
      const auto record =
          denoiser.record(B::combine(one, patches.images, report.sigma, noise), report.sigma, patches.places, {}, {});
      const LossValue<B> value =
          EDMLoss<B>(options)(denoiser.formulation(), record.denoised, patches.images, report.sigma, patches.mask);
      const std::vector<double> squares = B::to_host(B::sum_per_sample(B::multiply(value.gradient, value.gradient)));

      std::vector<double> edges = report.sigma;  // a bin for each sample
      std::sort(edges.begin(), edges.end());
      LossTable table(denoiser, options, {.sigma_edges = edges});
      table.add(report);
      const std::vector<LossTable::Row> rows = table.rows();
      REQUIRE(rows.size() == 7);
      for (const LossTable::Row& row : rows) {
        const auto sample = static_cast<std::size_t>(
            std::find(report.sigma.begin(), report.sigma.end(), row.sigma_begin) - report.sigma.begin());
        CHECK(row.patch == ImageSize{4, 3});
        CHECK(row.samples == 1);
        CHECK(row.loss == report.per_sample.values[sample]);
        CHECK(row.gradient_norm == Approx(std::sqrt(squares[sample])).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("samples are sorted by noise level and patch size, and averaged") {
  const Model denoiser = model();
  const EDMLossOptions unit{.weighting = Weighting::unit(), .reduction = Reduction::mean};
  LossTable table(denoiser, unit, {.sigma_edges = {0.1, 1}});
  CHECK(table.rows().empty());
  table.add(report_of({8, 6}, {0.05, 0.5, 1, 7}, {4, 9, 1, 3}));
  table.add(report_of({4, 3}, {0.1}, {16}));
  table.add(report_of({8, 6}, {0.9}, {25}));
  const auto check = [](const LossTable::Row& row, const LossTable::Row& expected) {
    CHECK(row.patch == expected.patch);
    CHECK(row.sigma_begin == expected.sigma_begin);
    CHECK(row.sigma_end == expected.sigma_end);
    CHECK(row.samples == expected.samples);
    CHECK(row.loss == Approx(expected.loss));
    CHECK(row.gradient_norm == Approx(expected.gradient_norm));
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double small = 2 / std::sqrt(2.0 * 4 * 3), large = 2 / std::sqrt(2.0 * 8 * 6);  // 2 sqrt(w), w = 1 / d
  std::vector<LossTable::Row> rows = table.rows();
  REQUIRE(rows.size() == 4);
  check(rows[0], {{4, 3}, 0.1, 1, 1, 16, 4 * small});
  check(rows[1], {{8, 6}, 0, 0.1, 1, 4, 2 * large});
  check(rows[2], {{8, 6}, 0.1, 1, 2, 17, 4 * large});
  check(rows[3], {{8, 6}, 1, infinity, 2, 2, (1 + std::sqrt(3.0)) / 2 * large});

  LossTable other(denoiser, unit, {.sigma_edges = {0.1, 1}});
  other.add(report_of({8, 6}, {0.2}, {1}));
  other.add(report_of({2, 2}, {0.2}, {1}));
  table.merge(other);
  rows = table.rows();
  REQUIRE(rows.size() == 5);
  check(rows[0], {{2, 2}, 0.1, 1, 1, 1, 2 / std::sqrt(8.0)});
  check(rows[3], {{8, 6}, 0.1, 1, 3, 35.0 / 3, 3 * large});

  table.reset();
  CHECK(table.rows().empty());
  table.merge(other);
  CHECK(table.rows().size() == 2);
}

TEST_CASE("the norms of steps are averaged by patch size where they were measured") {
  const Model denoiser = model();
  LossTable table(denoiser), other(denoiser);
  const auto measured = [](ImageSize patch, double norm) {
    StepReport<B> report = report_of(patch, {1}, {1});
    report.gradient_norm = tensor<B>({}, {norm});
    return report;
  };
  table.add(report_of({8, 6}, {1}, {1}));
  CHECK(table.step_rows().empty());
  table.add(measured({8, 6}, 3));
  table.add(measured({4, 3}, 7));
  other.add(measured({8, 6}, 6));
  table.merge(other);
  const std::vector<LossTable::StepRow> rows = table.step_rows();
  REQUIRE(rows.size() == 2);
  CHECK((rows[0].patch == ImageSize{4, 3} && rows[0].steps == 1 && rows[0].gradient_norm == 7));
  CHECK((rows[1].patch == ImageSize{8, 6} && rows[1].steps == 2 && rows[1].gradient_norm == 4.5));
  table.reset();
  CHECK(table.step_rows().empty());
}

TEST_CASE("a step that is not finite leaves the table as it was") {
  for (const NonFinite policy : {NonFinite::skip, NonFinite::guarded}) {
    const TrainStep<B> step(
        {.schedule = PatchSizeSchedule::stochastic({.image = image.size()}), .batch = 3, .non_finite = policy});
    Model denoiser = model();
    LossTable table(denoiser);
    Adam<B> adam;
    TrainState state;
    for (const double pixel : {0.5, std::numeric_limits<double>::quiet_NaN()}) {
      const PatchPlan plan = step.plan(state);
      table.add(step(denoiser, adam, {.images = filled<B>({plan.images, 2, 8, 6}, pixel)}, plan, state));
    }
    std::uint64_t samples = 0;
    for (const LossTable::Row& row : table.rows()) {
      samples += row.samples;
      CHECK((std::isfinite(row.loss) && row.loss > 0 && row.gradient_norm > 0));
    }
    CHECK(samples == static_cast<std::uint64_t>(step.plan({}).images));
  }
}

TEST_CASE("LossTable refuses edges that do not rise, and tables of others") {
  const Model denoiser = model();
  const auto make = [&](std::vector<double> edges) {
    return LossTable(denoiser, {}, {.sigma_edges = std::move(edges)});
  };
  CHECK_ERROR(ConfigError, "LossTable: sigma_edges: expected a finite value > 0, got 0", make({0, 1}));
  CHECK_ERROR(ConfigError, "LossTable: sigma_edges: expected a finite value > 1, got 1", make({1, 1}));
  CHECK_ERROR(ConfigError, "LossTable: sigma_edges: expected a finite value > 1, got inf",
              make({1, std::numeric_limits<double>::infinity()}));
  LossTable table = make({1, 2});
  CHECK_ERROR(ConfigError, "LossTable: sigma_edges: expected [1, 2], got [0.5]", table.merge(make({0.5})));
  CHECK(make({}).rows().empty());
}

}  // namespace
}  // namespace patchdiff
