// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/train_step.hpp>

#include "custom_backend/pixelwise_network.hpp"
#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Net = host::PixelwiseNetwork<B>;
using Model = DenoiserWrapper<Net>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr ImageShape image{2, 8, 6};

Model model() { return {Net({.in_channels = 2 + 2 + 1, .out_channels = 2, .label_dim = 3}, {1}), {.image = image}}; }

TrainStepOptions options(EDMLossOptions loss = {}) {
  return {.schedule = PatchSizeSchedule::stochastic({.image = image.size()}), .batch = 5, .loss = std::move(loss)};
}

ImageBatch<B> batch_of(std::int64_t count) {
  return {.images = random_tensor<B>({count, 2, 8, 6}, 1),
          .mask = random_tensor<B>({count, 1, 8, 6}, 2),
          .fields = random_tensor<B>({count, 1, 8, 6}, 3),
          .class_labels = random_tensor<B>({count, 3}, 4)};
}

ImageBatch<B> part_of(const ImageBatch<B>& batch, std::int64_t first, std::int64_t count) {
  const auto cut = [&](const B::Tensor& x) { return B::slice(x, 0, first, count); };
  return {.images = cut(batch.images),
          .mask = cut(*batch.mask),
          .fields = cut(*batch.fields),
          .class_labels = cut(*batch.class_labels),
          .first_sample = static_cast<std::uint64_t>(first)};
}

template <class D>
std::vector<double> weights(D& denoiser) {
  std::vector<double> all;
  denoiser.visit_state(
      [&](auto, B::Tensor& value) { all.insert(all.end(), value.values.begin(), value.values.end()); });
  return all;
}

template <class D>
std::vector<double> gradients(D& denoiser) {
  std::vector<double> all;
  denoiser.visit_parameters([&](auto, B::Tensor&, B::Tensor& gradient) {
    all.insert(all.end(), gradient.values.begin(), gradient.values.end());
  });
  return all;
}

TEST_CASE("a step from patches that were cut elsewhere is the same step") {
  const TrainStep<B> step(options());
  Model whole = model(), patched = model();
  Adam<B> whole_adam, patched_adam;
  TrainState whole_state{.seed = 9}, patched_state{.seed = 9};
  for (int i = 0; i < 3; ++i) {
    const PatchPlan plan = step.plan(whole_state);
    const ImageBatch<B> batch = batch_of(plan.images);
    const PatchSampler<B> crop;
    const PatchBatch<B> patches = crop(batch, crop.places(plan, image.size(), plan.images));
    const StepReport<B> report = step(whole, whole_adam, batch, plan, whole_state);
    CHECK(step(patched, patched_adam, patches, plan, patched_state).loss() == report.loss());
    CHECK(weights(whole) == weights(patched));
    CHECK(whole_state == patched_state);
  }
  const PatchPlan plan = step.plan(whole_state);
  const ImageBatch<B> batch = batch_of(2);
  const PatchBatch<B> wrong = PatchSampler<B>{}(batch, Places::repeated({1, 2}, Place::at(0, 0), 2));
  CHECK_ERROR(
      ShapeError,
      fmt::format("TrainStep: images: expected [N, C, {}, {}], got [2, 2, 1, 2]", plan.patch.height, plan.patch.width),
      step.gradients(whole, wrong, plan));
}

TEST_CASE("a step is its gradients and its update in a row") {
  const TrainStep<B> step(options());
  Model whole = model(), split = model();
  Adam<B> whole_adam, split_adam;
  TrainState whole_state{.seed = 9}, split_state{.seed = 9};
  for (int i = 0; i < 4; ++i) {
    const PatchPlan plan = step.plan(whole_state);
    const StepReport<B> report = step(whole, whole_adam, batch_of(plan.images), plan, whole_state);
    zero_gradients(split);
    StepReport<B> parts = step.gradients(split, batch_of(plan.images), plan);
    step.update(split, split_adam, parts, split_state);
    CHECK(weights(whole) == weights(split));
    CHECK(whole_state == split_state);
    CHECK(report.loss() == parts.loss());
  }
}

TEST_CASE("the gradients are those of the components in a row") {
  const TrainStep<B> step(options());
  const PatchPlan plan{.patch = {4, 3}, .images = 7, .step = 3, .key = {5}};
  const ImageBatch<B> batch = batch_of(7);
  Model denoiser = model(), by_hand = model();
  const StepReport<B> report = step.gradients(denoiser, batch, plan);

  const PatchSampler<B> crop;
  const PatchBatch<B> patches = crop(batch, crop.places(plan, image.size(), 7));
  const EDMLoss<B> loss;
  const std::vector<double> sigma = loss.draw_sigma(EDM{}, plan, 7), one(7, 1.0);
  const B::Tensor noise = training_noise<B>(plan, 0, patches.images.shape, {});
  const auto record = by_hand.record(B::combine(one, patches.images, sigma, noise), sigma, patches.places,
                                     {.class_labels = batch.class_labels, .fields = patches.fields}, {});
  const LossValue<B> value = loss(EDM{}, record.denoised, patches.images, sigma, patches.mask);
  by_hand.backward(record, value.gradient, 1.0 / 7);

  CHECK(gradients(denoiser) == gradients(by_hand));
  CHECK(report.sigma == sigma);
  double sum = 0;
  for (const double sample : value.per_sample.values) sum += sample / (2 * 4 * 3);
  CHECK(report.loss() == Approx(sum / 7).epsilon(1e-12));
  const Pass& pass = denoiser.network().last_pass();
  CHECK((pass.training && pass.key == RandomKey{5} && pass.step == 3 && pass.first_sample == 0));
  CHECK_FALSE(pass.input_gradient);
}

TEST_CASE("the gradients are the derivatives of the reported loss") {
  for (const Reduction reduction : {Reduction::mean, Reduction::sum}) {
    const TrainStep<B> step(options({.reduction = reduction}));
    const PatchPlan plan{.patch = {4, 3}, .images = 4, .step = 3, .key = {5}};
    const double pixels = reduction == Reduction::sum ? 2 * 4 * 3 : 1;
    Model denoiser = model();
    step.gradients(denoiser, batch_of(4), plan);
    const std::vector<double> analytic = gradients(denoiser);
    std::size_t index = 0;
    denoiser.visit_parameters([&](auto, B::Tensor& value, B::Tensor&) {
      for (double& weight : value.values) {
        const double before = weight;
        const double slope = central_difference([&](double change) {
          weight = before + change;
          return step.gradients(denoiser, batch_of(4), plan).loss();
        });
        weight = before;
        CHECK(analytic[index++] == Approx(pixels * slope).epsilon(1e-6).margin(1e-8));
      }
    });
  }
}

TEST_CASE("the parts of a step add up to the whole, with the same draws") {
  TrainStepOptions settings = options();
  settings.label_dropout = 0.5;
  const TrainStep<B> step(std::move(settings));
  const PatchPlan plan{.patch = {4, 3}, .images = 9, .step = 3, .key = {5}};
  const ImageBatch<B> batch = batch_of(9);
  Model whole = model(), parts = model();
  const StepReport<B> once = step.gradients(whole, batch, plan);
  StepReport<B> joined = step.gradients(parts, part_of(batch, 0, 2), plan);
  joined.append(step.gradients(parts, part_of(batch, 2, 6), plan));
  CHECK(parts.network().last_pass().first_sample == 2);
  joined.append(step.gradients(parts, part_of(batch, 8, 1), plan));

  CHECK(joined.sigma == once.sigma);
  CHECK(B::to_host(joined.per_sample) == B::to_host(once.per_sample));
  CHECK(joined.loss() == once.loss());
  const std::vector<double> expected = gradients(whole), got = gradients(parts);
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(expected[i]).epsilon(1e-11));
}

TEST_CASE("a run counts its steps, images, patches and pixels, and plans by them") {
  TrainStepOptions settings = options();
  settings.schedule = PatchSizeSchedule::progressive({.image = image.size()}, 60);
  const TrainStep<B> step(std::move(settings));
  Model denoiser = model();
  Adam<B> adam;
  TrainState state{.seed = 3};
  std::uint64_t images = 0, pixels = 0, steps = 0;
  std::vector<std::int64_t> heights;
  while (state.images < 60) {
    const PatchPlan plan = step.plan(state);
    CHECK(plan.first_image == images);
    step(denoiser, adam, batch_of(plan.images), plan, state);
    heights.push_back(plan.patch.height);
    images += static_cast<std::uint64_t>(plan.images);
    pixels += static_cast<std::uint64_t>(plan.images * pixel_count(plan.patch));
    CHECK(state == TrainState{.seed = 3, .step = ++steps, .images = images, .patches = images, .pixels = pixels});
  }
  CHECK(heights == std::vector<std::int64_t>{2, 4, 4, 8, 8, 8, 8});  // 20, 10 and 5 images a step
}

TEST_CASE("TrainStep refuses patches that do not fit, before any work") {
  const TrainStep<B> step(options());
  const PatchPlan plan{.patch = {4, 3}, .images = 5};
  Model denoiser = model();
  const auto run = [&](std::int64_t count, auto&& change) {
    const PatchSampler<B> crop;
    PatchBatch<B> patches = crop(batch_of(count), crop.places(plan, image.size(), count));
    change(patches);
    step.gradients(denoiser, patches, plan);
  };
  CHECK_ERROR(ShapeError, "TrainStep: images: expected samples within the plan's 5, got 6 from sample 0 on",
              run(6, [](auto&) {}));
  CHECK_ERROR(ShapeError, "TrainStep: images: expected samples within the plan's 5, got 5 from sample 1 on",
              run(5, [](auto& patches) { patches.first_sample = 1; }));
  CHECK_ERROR(ShapeError, "TrainStep: mask: expected [5, 1 or 2, 4, 3], got [5, 1, 8, 6]", run(5, [](auto& patches) {
                patches.mask = filled<B>({5, 1, 8, 6}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: class_labels: expected 5 rows, one per image, got [4, 3]",
              run(5, [](auto& patches) {
                patches.class_labels = filled<B>({4, 3}, 0);
              }));
  CHECK(gradients(denoiser) == std::vector<double>(gradients(denoiser).size(), 0.0));
}

/// A network that keeps the augmentation labels that it was given.
struct Augmented : Net {
  using Net::Net;
  std::int64_t augment_dim() const { return 9; }
  Record record(const B::Tensor& input, std::span<const double> c_noise, const Conditioning<B>& conditioning,
                const Pass& pass) {
    labels.push_back(conditioning.augment_labels ? B::to_host(*conditioning.augment_labels) : std::vector<double>{});
    return Net::record(input, c_noise, conditioning, pass);
  }
  std::vector<std::vector<double>> labels{};
};

TEST_CASE("the network is told how images were augmented, by labels and by coordinates") {
  const TrainStep<B> step(options());
  const PatchPlan plan{.patch = {4, 3}, .images = 2, .step = 3, .key = {5}};
  const PixelMap mirrored = PixelMap::mirrored(6);
  DenoiserWrapper denoiser{Augmented({.in_channels = 2 + 2, .out_channels = 2}, {1}), {.image = image}};
  DenoiserWrapper from_patches{Augmented({.in_channels = 2 + 2, .out_channels = 2}, {1}), {.image = image}};
  ImageBatch<B> batch{.images = random_tensor<B>({2, 2, 8, 6}, 1),
                      .augment_labels = random_tensor<B>({2, 9}, 2),
                      .maps = {PixelMap{}, mirrored}};
  step.gradients(denoiser, batch, plan);

  PatchBatch<B> patches = PatchSampler<B>{}({.images = batch.images}, PatchSampler<B>{}.places(plan, {8, 6}, 2));
  patches.augment_labels = batch.augment_labels;
  patches.places.at[1].to_image = mirrored.after(patches.places.at[1].to_image);
  step.gradients(from_patches, patches, plan);
  CHECK(gradients(denoiser) == gradients(from_patches));
  batch.augment_labels.reset();
  step.gradients(denoiser, batch, plan);
  const std::vector<double> given = B::to_host(random_tensor<B>({2, 9}, 2));
  CHECK(denoiser.network().labels == std::vector<std::vector<double>>{given, {}});
  CHECK(from_patches.network().labels == std::vector<std::vector<double>>{given});
  batch.augment_labels = filled<B>({2, 8}, 0);
  CHECK_ERROR(ShapeError, "DenoiserWrapper: augment_labels: expected [2, 9], got [2, 8]",
              step.gradients(denoiser, batch, plan));
}

/// A network that keeps the labels that it was trained on.
struct LabelKeeping : Net {
  using Net::Net;
  Record record(const B::Tensor& input, std::span<const double> c_noise, const Conditioning<B>& conditioning,
                const Pass& pass) {
    const std::vector<double> rows = B::to_host(conditioning.class_labels.value());
    labels.insert(labels.end(), rows.begin(), rows.end());
    return Net::record(input, c_noise, conditioning, pass);
  }
  std::vector<double> labels{};
};

// False-alarm rate: 5.7e-7.
TEST_CASE("labels are dropped with the given probability, sample by sample") {
  const auto kept = [](double probability, std::int64_t parts) {
    constexpr std::int64_t count = 4000;
    const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic_of({.image = {1, 1}, .sizes = {{1, 1}}}),
                             .batch = count,
                             .label_dropout = probability});
    DenoiserWrapper denoiser{LabelKeeping({.label_dim = 2}), {.image = {1, 1, 1}}};
    const PatchPlan plan = step.plan({.seed = 2});
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t size = count / parts;
      step.gradients(denoiser,
                     {.images = filled<B>({size, 1, 1, 1}, 0),
                      .class_labels = filled<B>({size, 2}, 3),
                      .first_sample = static_cast<std::uint64_t>(part * size)},
                     plan);
    }
    return denoiser.network().labels;
  };
  const std::vector<double> labels = kept(0.2, 1);
  std::vector<double> dropped;
  for (std::size_t row = 0; row < labels.size(); row += 2) {
    REQUIRE(((labels[row] == 0 || labels[row] == 3) && labels[row + 1] == labels[row]));
    dropped.push_back(labels[row] == 0 ? 1 : 0);
  }
  CHECK(z_of_mean(dropped, 0.2, std::sqrt(0.2 * 0.8)) < largest_z);
  CHECK(kept(0.2, 8) == labels);
  CHECK(kept(0, 1) == std::vector<double>(8000, 3));
  CHECK(kept(1, 1) == std::vector<double>(8000, 0));
}

TEST_CASE("a model knows whether its null label was trained, and so do its copies and averages") {
  const auto trained = [](double label_dropout, std::int64_t label_dim) {
    const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic_of({.image = {1, 1}, .sizes = {{1, 1}}}),
                             .batch = 2,
                             .label_dropout = label_dropout});
    DenoiserWrapper denoiser{host::PixelwiseNetwork<B>({.label_dim = label_dim}), {.image = {1, 1, 1}}};
    Adam<B> adam;
    EMA<B> ema(denoiser);
    TrainState state;
    ImageBatch<B> batch{.images = filled<B>({2, 1, 1, 1}, 0)};
    if (label_dim > 0) batch.class_labels = filled<B>({2, label_dim}, 1);
    CHECK_FALSE(denoiser.null_label_trained());
    step(denoiser, adam, batch, step.plan(state), state);
    ema.update(denoiser, state);
    CHECK(ema.apply_to(denoiser.clone()).options().null_label_trained == denoiser.null_label_trained());
    return denoiser.null_label_trained();
  };
  CHECK(trained(0.1, 2));
  CHECK_FALSE(trained(0, 2));
  CHECK_FALSE(trained(0.1, 0));
}

// Under EDM's weight the perfect denoiser of independent pixels of standard deviation sigma_data has loss 1.
TEST_CASE("training on Gaussian images finds their denoiser") {
  const TrainStep<B> step(options());
  Model denoiser = model();
  Adam<B> adam({.learning_rate = 0.01});
  TrainState state{.seed = 3};
  double first = 0, last = 0;
  for (int i = 0; i < 300; ++i) {
    const PatchPlan plan = step.plan(state);
    ImageBatch<B> batch{.images = random_tensor<B>({plan.images, 2, 8, 6}, state.step),
                        .fields = filled<B>({plan.images, 1, 8, 6}, 0),
                        .class_labels = filled<B>({plan.images, 3}, 0)};
    for (double& pixel : batch.images.values) pixel *= 0.5;
    const double loss = step(denoiser, adam, batch, plan, state).loss();
    if (i < 50) first += loss / 50;
    if (i >= 250) last += loss / 50;
  }
  CHECK(first > 1.15);
  CHECK(last == Approx(1).margin(0.05));
}

/// An image with one pixel that is not a number makes the whole step so.
ImageBatch<B> broken_batch(std::int64_t count) {
  ImageBatch<B> batch = batch_of(count);
  for (double& pixel : batch.images.values) pixel = nan;
  return batch;
}

/// A run of three steps, the second of them broken or left out; what is left of it in weights and optimiser.
struct Run {
  Model denoiser = model();
  Adam<B> adam{};
  TrainState state{.seed = 6};
  std::optional<StepReport<B>> report{};
  std::string error{};

  Run(NonFinite policy, bool with_broken_step) {
    TrainStepOptions settings = options();
    settings.non_finite = policy;
    const TrainStep<B> step(std::move(settings));
    const PatchPlan plan{.patch = {8, 6}, .images = 5, .key = {6}};
    step(denoiser, adam, batch_of(5), plan, state);
    if (with_broken_step) {
      const PatchPlan next = step.plan(state);
      try {
        report = step(denoiser, adam, broken_batch(next.images), next, state);
      } catch (const NumericError& numeric) {
        error = numeric.what();
      }
    }
    after_two = weights(denoiser);
    const TrainState kept = state;
    step(denoiser, adam, batch_of(5), plan, state);
    state = kept;
  }
  std::vector<double> after_two{};
};

std::string message_of(const StepReport<B>& report) {
  try {
    report.loss();
  } catch (const NumericError& error) {
    return error.what();
  }
  return "no error";
}

TEST_CASE("a step that is not finite leaves weights and optimiser as they were, under every policy") {
  for (const NonFinite policy : {NonFinite::fail, NonFinite::skip, NonFinite::guarded}) {
    Run without(policy, false), with(policy, true);
    CHECK(with.after_two == without.after_two);
    CHECK(weights(with.denoiser) == weights(without.denoiser));  // the optimiser's moments and count too
  }
}

TEST_CASE("NonFinite::fail throws before the update, and the state stays") {
  const Run run(NonFinite::fail, true);
  const PatchPlan plan = TrainStep<B>(options()).plan({.seed = 6, .step = 1, .images = 5});
  const std::vector<double> sigma = EDMLoss<B>{}.draw_sigma(EDM{}, plan, plan.images);
  const auto [least, most] = std::minmax_element(sigma.begin(), sigma.end());
  CHECK(run.error == fmt::format("TrainStep: loss and gradients: expected finite values, got others at step 1 (patches "
                                 "of 4x3, sigma {:.4g} to {:.4g})",
                                 *least, *most));
  CHECK_FALSE(run.report);
  CHECK(run.state == Run(NonFinite::fail, false).state);
}

TEST_CASE("NonFinite::skip counts the step and goes on") {
  const Run run(NonFinite::skip, true);
  CHECK(run.error.empty());
  CHECK(run.report.value().skipped);
  CHECK(std::isnan(run.report->loss()));
  CHECK(run.state.skipped == 1);
  CHECK(run.state.step == 2);
  CHECK(run.state.images == 5 + static_cast<std::uint64_t>(run.report->plan.images));
  CHECK(Run(NonFinite::skip, false).state.skipped == 0);
}

TEST_CASE("NonFinite::guarded goes on, and the error rises when the report is read") {
  const Run run(NonFinite::guarded, true);
  CHECK(run.error.empty());
  CHECK(run.state.step == 2);
  CHECK(message_of(run.report.value()) == Run(NonFinite::fail, true).error);
}

TEST_CASE("a finite loss with a gradient that is not finite is refused too") {
  const TrainStep<B> step(options());
  Model denoiser = model();
  Adam<B> adam;
  TrainState state{.seed = 6};
  const PatchPlan plan = step.plan(state);
  StepReport<B> report = step.gradients(denoiser, batch_of(plan.images), plan);
  denoiser.visit_parameters([](std::string_view name, B::Tensor&, B::Tensor& gradient) {
    if (name == "outer") gradient.values.back() = std::numeric_limits<double>::infinity();
  });
  CHECK(std::isfinite(report.loss()));
  CHECK_THROWS_AS(step.update(denoiser, adam, report, state), NumericError);
  CHECK(state == TrainState{.seed = 6});
}

TEST_CASE("finite gradients with a loss that is not finite are refused too, clipped or not") {
  for (const double norm : {1.0, std::numeric_limits<double>::infinity()}) {
    TrainStepOptions settings = options();
    settings.max_gradient_norm = norm;
    const TrainStep<B> step(std::move(settings));
    Model denoiser = model();
    Adam<B> adam;
    TrainState state{.seed = 6};
    const PatchPlan plan = step.plan(state);
    StepReport<B> report = step.gradients(denoiser, batch_of(plan.images), plan);
    report.per_sample.values.front() = nan;
    CHECK_THROWS_AS(step.update(denoiser, adam, report, state), NumericError);
    CHECK(state == TrainState{.seed = 6});
  }
}

double length(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

TEST_CASE("gradients that are too long are scaled down, and the report has their norm") {
  TrainStepOptions settings = options();
  const TrainStep<B> plain(settings);
  Model free = model();
  Adam<B> free_adam;
  TrainState free_state{.seed = 6};
  const PatchPlan plan = plain.plan(free_state);
  CHECK_FALSE(plain(free, free_adam, batch_of(plan.images), plan, free_state).gradient_norm);
  const std::vector<double> whole = gradients(free);
  const double norm = length(whole);
  for (const double share : {0.25, 4.0}) {
    settings.max_gradient_norm = share * norm;
    Model clipped = model();
    Adam<B> adam;
    TrainState state{.seed = 6};
    const StepReport<B> report = TrainStep<B>(settings)(clipped, adam, batch_of(plan.images), plan, state);
    CHECK(B::to_host(report.gradient_norm.value())[0] == Approx(norm).epsilon(1e-12));
    const std::vector<double> got = gradients(clipped);
    for (std::size_t i = 0; i < got.size(); ++i)
      CHECK(got[i] == Approx(std::min(1.0, share) * whole[i]).epsilon(1e-12));
    if (share > 1) CHECK(weights(clipped) == weights(free));
  }
}

TEST_CASE("clipping hides no gradient that is not finite") {
  for (const NonFinite policy : {NonFinite::fail, NonFinite::skip, NonFinite::guarded}) {
    for (const double broken : {nan, std::numeric_limits<double>::infinity(), 1e200}) {  // the last one's square is
      TrainStepOptions settings = options();
      settings.max_gradient_norm = 1;
      settings.non_finite = policy;
      const TrainStep<B> step(std::move(settings));
      Model denoiser = model();
      const std::vector<double> before = weights(denoiser);
      Adam<B> adam;
      TrainState state{.seed = 6};
      const PatchPlan plan = step.plan(state);
      StepReport<B> report = step.gradients(denoiser, batch_of(plan.images), plan);
      denoiser.visit_parameters([&](std::string_view name, B::Tensor&, B::Tensor& gradient) {
        if (name == "outer") gradient.values.back() = broken;
      });
      if (policy == NonFinite::fail) {
        CHECK_THROWS_AS(step.update(denoiser, adam, report, state), NumericError);
        CHECK(state == TrainState{.seed = 6});
      } else {
        step.update(denoiser, adam, report, state);
        CHECK_FALSE(B::read_flag(report.finite.value()));
      }
      CHECK(weights(denoiser) == before);
    }
  }
}

/// An optimiser of a host's own, which ignores the flag.
struct GradientDescent {
  static constexpr bool obeys_flag = false;
  template <class D>
  void step(D& denoiser, const B::Tensor&) {
    denoiser.visit_parameters([](auto, B::Tensor& value, B::Tensor& gradient) {
      for (std::size_t i = 0; i < value.values.size(); ++i) value.values[i] -= 0.1 * gradient.values[i];
    });
  }
  void set_learning_rate(double) {}
};

TEST_CASE("an optimiser that ignores the flag works under fail and skip, and is refused under guarded") {
  for (const NonFinite policy : {NonFinite::fail, NonFinite::skip, NonFinite::guarded}) {
    TrainStepOptions settings = options();
    settings.non_finite = policy;
    const TrainStep<B> step(std::move(settings));
    Model denoiser = model();
    const std::vector<double> before = weights(denoiser);
    GradientDescent descent;
    TrainState state;
    const PatchPlan plan = step.plan(state);
    const auto run = [&] { step(denoiser, descent, batch_of(plan.images), plan, state); };
    if (policy == NonFinite::guarded) {
      CHECK_ERROR(ConfigError,
                  "TrainStep: non_finite: expected NonFinite::fail or NonFinite::skip with this optimiser, "
                  "got NonFinite::guarded",
                  run());
      CHECK(weights(denoiser) == before);
      CHECK(state == TrainState{});
    } else {
      run();
      CHECK(weights(denoiser) != before);
    }
  }
}

TEST_CASE("TrainStep refuses settings that cannot work") {
  const auto make = [](std::int64_t batch, double label_dropout) {
    TrainStepOptions settings = options();
    settings.batch = batch;
    settings.label_dropout = label_dropout;
    return TrainStep<B>(std::move(settings));
  };
  CHECK_ERROR(ConfigError, "TrainStep: batch: expected at least 1, got 0", make(0, 0));
  CHECK_ERROR(ConfigError, "TrainStep: label_dropout: expected a value in [0, 1], got 1.5", make(1, 1.5));
  CHECK_ERROR(ConfigError, "TrainStep: label_dropout: expected a value in [0, 1], got nan", make(1, nan));
  for (const double norm : {0.0, -1.0, nan}) {
    TrainStepOptions settings = options();
    settings.max_gradient_norm = norm;
    CHECK_ERROR(ConfigError, fmt::format("TrainStep: max_gradient_norm: expected a value > 0, got {}", norm),
                TrainStep<B>(std::move(settings)));
  }
  TrainStepOptions settings = options();
  settings.schedule = PatchSizeSchedule::stochastic({.image = {16, 12}});
  Model denoiser = model();
  CHECK_ERROR(ConfigError, "TrainStep: schedule: expected images of 8x6, as the denoiser's, got 16x12",
              TrainStep<B>(std::move(settings)).gradients(denoiser, batch_of(5), {.patch = {8, 6}, .images = 5}));
}

TEST_CASE("TrainStep refuses batches that do not fit, before any work") {
  const TrainStep<B> step(options());
  const PatchPlan plan{.patch = {4, 3}, .images = 5};
  Model denoiser = model();
  const auto run = [&](auto&& change) {
    ImageBatch<B> batch = batch_of(5);
    change(batch);
    step.gradients(denoiser, batch, plan);
  };
  CHECK_ERROR(ShapeError, "TrainStep: images: expected [N, 2, 8, 6], got [5, 8, 6]", run([](auto& batch) {
                batch.images = filled<B>({5, 8, 6}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: images: expected [N, 2, 8, 6], got [5, 3, 8, 6]", run([](auto& batch) {
                batch.images = filled<B>({5, 3, 8, 6}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: images: expected [N, 2, 8, 6], got [5, 2, 6, 8]", run([](auto& batch) {
                batch.images = filled<B>({5, 2, 6, 8}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: images: expected samples within the plan's 5, got 6 from sample 0 on",
              run([](auto& batch) { batch = batch_of(6); }));
  CHECK_ERROR(ShapeError, "TrainStep: images: expected samples within the plan's 5, got 5 from sample 1 on",
              run([](auto& batch) { batch.first_sample = 1; }));
  CHECK_ERROR(ShapeError, "TrainStep: images: expected samples within the plan's 5, got 0 from sample 0 on",
              run([](auto& batch) {
                batch.images = filled<B>({0, 2, 8, 6}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: mask: expected [5, 1 or 2, 8, 6], got [5, 3, 8, 6]", run([](auto& batch) {
                batch.mask = filled<B>({5, 3, 8, 6}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: mask: expected [5, 1 or 2, 8, 6], got [5, 1, 8, 5]", run([](auto& batch) {
                batch.mask = filled<B>({5, 1, 8, 5}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: class_labels: expected 5 rows, one per image, got [4, 3]", run([](auto& batch) {
                batch.class_labels = filled<B>({4, 3}, 0);
              }));
  CHECK_ERROR(ShapeError, "TrainStep: class_labels: expected 5 rows, one per image, got []",
              run([](auto& batch) { batch.class_labels = filled<B>({}, 0); }));
  CHECK_ERROR(ShapeError, "TrainStep: augment_labels: expected 5 rows, one per image, got [1, 9]", run([](auto& batch) {
                batch.augment_labels = filled<B>({1, 9}, 0);
              }));
  CHECK_ERROR(ShapeError, "PatchSampler: maps: expected 5 maps, one per place, got 6",
              run([](auto& batch) { batch.maps.resize(6); }));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [5, 3], got [5, 4]", run([](auto& batch) {
                batch.class_labels = filled<B>({5, 4}, 0);
              }));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: class_labels: expected [5, 3], got none",
              run([](auto& batch) { batch.class_labels.reset(); }));
  CHECK_ERROR(ShapeError, "PatchSampler: fields: expected images of 8x6, got [5, 1, 4, 3]", run([](auto& batch) {
                batch.fields = filled<B>({5, 1, 4, 3}, 0);
              }));
  CHECK_ERROR(ShapeError, "DenoiserWrapper: fields: expected [5, 1, 4, 3], got none",
              run([](auto& batch) { batch.fields.reset(); }));
  CHECK(gradients(denoiser) == std::vector<double>(gradients(denoiser).size(), 0.0));
}

}  // namespace
}  // namespace patchdiff
