// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/operations.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/diffusion/edm_loss.hpp>
#include <patchdiff/diffusion/training_noise.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_plan.hpp>
#include <patchdiff/patch/patch_sampler.hpp>
#include <patchdiff/patch/patch_size_schedule.hpp>
#include <patchdiff/training/loss_scaling.hpp>
#include <patchdiff/training/optimizer.hpp>
#include <patchdiff/training/step_report.hpp>

namespace patchdiff {

/// What a step does when its loss or a gradient is not finite.
enum class NonFinite {
  fail,     ///< throws NumericError before the optimiser writes; reads one flag from the device per step
  skip,     ///< leaves the update out and counts it in TrainState::skipped; reads one flag from the device per step
  guarded,  ///< reads nothing: optimiser and weights keep their values, the error rises when the report is read
};

/// Settings of a TrainStep.
struct TrainStepOptions {
  PatchSizeSchedule schedule;  ///< patch size and number of images of each step
  std::int64_t batch = 128;    ///< images of a full-size step, over all processes
  EDMLossOptions loss{};
  double label_dropout = 0;  ///< probability of training a sample without its label, in [0, 1]; guidance needs some
  double max_gradient_norm = std::numeric_limits<double>::infinity();  ///< gradients are scaled down to this norm, > 0;
                                                                       ///< infinity: neither measured nor clipped
  /// What happens where a gradient is not finite.
  NonFinite non_finite = NonFinite::fail;
};

/// One step of patch training: crop, noise, denoise, loss, backward, update.
///
/// Everything that it draws is a function of seed, step and sample, so a step may be taken in parts. In float16 it
/// takes a loss scale, the same at every call. Source: Patch Diffusion (arXiv 2304.12526), section 3.
template <Backend B>
class TrainStep {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit TrainStep(TrainStepOptions options) : options_(std::move(options)), loss_(options_.loss) {
    require<ConfigError>(options_.batch >= 1, "TrainStep", "batch", "at least 1", options_.batch);
    require<ConfigError>(options_.label_dropout >= 0 && options_.label_dropout <= 1, "TrainStep", "label_dropout",
                         "a value in [0, 1]", options_.label_dropout);
    require<ConfigError>(options_.max_gradient_norm > 0, "TrainStep", "max_gradient_norm", "a value > 0",
                         options_.max_gradient_norm);
  }

  /// What the next step is: its patch size, and how many images to take from where.
  PatchPlan plan(const TrainState& state) const { return options_.schedule.plan(state, options_.batch); }

  /// A whole step: `gradients` and `update` in a row, from zeroed gradients.
  ///
  /// Errors: as of both; weights, optimiser and state are as before where it throws.
  template <class D, class O, class Batch = ImageBatch<B>, class Scaling = NoLossScaling>
    requires Optimizer<O, D> StepReport<B>
  operator()(D& denoiser, O& optimizer, const Batch& batch, const PatchPlan& plan, TrainState& state,
             Scaling&& scaling = {}) const {
    zero_gradients(denoiser);
    StepReport<B> report = gradients(denoiser, batch, plan, scaling);
    update(denoiser, optimizer, report, state, scaling);
    return report;
  }

  /// Adds the gradients of a part of the step's images, `batch.first_sample` and on, or of all of them.
  ///
  /// The batch holds images, or a PatchBatch of what was cut from them at `PatchSampler::places` of the plan. The sum
  /// of the losses is divided by `plan.images`, so parts add up to the whole step. Errors: ShapeError and DataError for
  /// a batch that does not fit, before any work.
  template <class D, class Batch = ImageBatch<B>, class Scaling = NoLossScaling>
  StepReport<B> gradients(D& denoiser, const Batch& batch, const PatchPlan& plan, Scaling&& scaling = {}) const {
    if constexpr (std::same_as<Batch, PatchBatch<B>>) {
      check_patches(denoiser, batch, plan);
      return patch_gradients(denoiser, batch, plan, scaling);
    } else {
      const Shape shape = check_batch(denoiser, batch, plan);
      const PatchSampler<B> crop(denoiser.coords().padding);
      return patch_gradients(
          denoiser, crop(batch, crop.places(plan, {shape[2], shape[3]}, shape[0], batch.first_sample)), plan, scaling);
    }
  }

  /// Checks that loss and gradients are finite, clips these, moves the weights, and moves `state` on.
  ///
  /// Errors: NumericError under `NonFinite::fail`; ConfigError for an optimiser that cannot be guarded, and for
  /// `NonFinite::fail` beside a loss scale, which finds its size by steps that are not finite.
  template <class D, class O, class Scaling = NoLossScaling>
    requires Optimizer<O, D>
  void update(D& denoiser, O& optimizer, StepReport<B>& report, TrainState& state, Scaling&& scaling = {}) const {
    constexpr bool scales = !std::same_as<std::remove_cvref_t<Scaling>, NoLossScaling>;
    if (scales && options_.non_finite == NonFinite::fail) {
      refuse<ConfigError>("TrainStep", "non_finite", "NonFinite::skip or NonFinite::guarded with a loss scale",
                          "NonFinite::fail");
    }
    if (options_.non_finite == NonFinite::guarded && !O::obeys_flag) {
      refuse<ConfigError>("TrainStep", "non_finite", "NonFinite::fail or NonFinite::skip with this optimiser",
                          "NonFinite::guarded");
    }
    std::vector<typename B::Tensor> judged;
    denoiser.visit_parameters([&](auto, typename B::Tensor&, typename B::Tensor& gradient) {
      if constexpr (scales) scaling.unscale(gradient);
      judged.push_back(gradient);
    });
    if (std::isfinite(options_.max_gradient_norm)) {
      report.gradient_norm = B::norm(judged);
      judged = {*report.gradient_norm};
    }
    judged.push_back(report.per_sample);
    report.finite = B::finite_flag(judged);
    if constexpr (scales) scaling.update(*report.finite);
    if (options_.non_finite != NonFinite::guarded && !B::read_flag(*report.finite)) {
      if (options_.non_finite == NonFinite::fail) throw report.not_finite();
      report.skipped = true;
      ++state.skipped;
    } else {
      if (report.gradient_norm) {
        denoiser.visit_parameters([&](auto, typename B::Tensor&, typename B::Tensor& gradient) {
          B::clip_norm(gradient, *report.gradient_norm, options_.max_gradient_norm);
        });
      }
      optimizer.step(denoiser, *report.finite);
      if (options_.label_dropout > 0 && denoiser.label_dim() > 0) denoiser.note_null_label();
      denoiser.note_average({});
    }
    const auto images = static_cast<std::uint64_t>(report.plan.images);
    ++state.step;
    state.images += images;
    state.patches += images;
    state.pixels += images * static_cast<std::uint64_t>(pixel_count(report.plan.patch));
  }

  /// The noise levels of all samples of a step; what `gradients` uses of them is in its report.
  template <class D>
  std::vector<double> sigma(const D& denoiser, const PatchPlan& plan) const {
    return loss_.draw_sigma(denoiser.formulation(), plan, plan.images);
  }

  const TrainStepOptions& options() const noexcept { return options_; }

 private:
  template <class D, class Scaling>
  StepReport<B> patch_gradients(D& denoiser, const PatchBatch<B>& patches, const PatchPlan& plan,
                                Scaling& scaling) const {
    constexpr bool scales = !std::same_as<std::remove_cvref_t<Scaling>, NoLossScaling>;
    if constexpr (scales) {
      static_assert(LossScaling<Scaling, B>, "TrainStep: the loss scale does not fit the concept LossScaling");
    }
    const std::int64_t count = B::shape(patches.images).front();
    const std::uint64_t first = patches.first_sample;
    std::vector<double> sigma = loss_.draw_sigma(denoiser.formulation(), plan, count, first);
    const std::vector<double> one(sigma.size(), 1.0);
    const auto noise = training_noise<B>(plan, first, B::shape(patches.images), B::device(patches.images));
    const auto noisy = B::combine(one, patches.images, sigma, noise);
    const Conditioning<B> conditioning{
        .class_labels = kept_labels(patches, plan), .fields = patches.fields, .augment_labels = patches.augment_labels};
    const Pass pass{.training = true, .key = plan.key, .step = plan.step, .first_sample = first};
    const auto record = denoiser.record(noisy, sigma, patches.places, conditioning, pass);
    LossValue<B> value = loss_(denoiser.formulation(), record.denoised, patches.images, sigma, patches.mask);
    if constexpr (scales) value.gradient = scaling.scaled(value.gradient);
    denoiser.backward(record, value.gradient, 1 / static_cast<double>(plan.images));
    return {.plan = plan, .sigma = std::move(sigma), .per_sample = per_pixel(value.per_sample, patches.images)};
  }

  template <class D>
  Shape check_batch(const D& denoiser, const ImageBatch<B>& batch, const PatchPlan& plan) const {
    const ImageShape image = denoiser.image();
    const Shape shape = B::shape(batch.images);
    check_schedule(image);
    if (shape.size() != 4 || shape[1] != image.channels || shape[2] != image.height || shape[3] != image.width) {
      refuse<ShapeError>("TrainStep", "images", str("[N, ", image.channels, ", ", image.height, ", ", image.width, ']'),
                         to_string(shape));
    }
    check_count(shape[0], batch.first_sample, plan);
    check_companions(batch, shape);
    return shape;
  }

  template <class D>
  void check_patches(const D& denoiser, const PatchBatch<B>& patches, const PatchPlan& plan) const {
    const Shape shape = B::shape(patches.images);
    check_schedule(denoiser.image());
    if (shape.size() != 4 || ImageSize{shape[2], shape[3]} != plan.patch) {
      refuse<ShapeError>("TrainStep", "images", str("[N, C, ", plan.patch.height, ", ", plan.patch.width, ']'),
                         to_string(shape));
    }
    check_count(shape[0], patches.first_sample, plan);
    check_companions(patches, shape);
  }

  void check_schedule(ImageShape image) const {
    if (image.size() == options_.schedule.image()) return;
    refuse<ConfigError>("TrainStep", "schedule", str("images of ", to_string(image.size()), ", as the denoiser's"),
                        to_string(options_.schedule.image()));
  }

  static void check_count(std::int64_t count, std::uint64_t first, const PatchPlan& plan) {
    if (count >= 1 && first + static_cast<std::uint64_t>(count) <= static_cast<std::uint64_t>(plan.images)) return;
    refuse<ShapeError>("TrainStep", "images", str("samples within the plan's ", plan.images),
                       str(count, " from sample ", first, " on"));
  }

  template <class Batch>
  static void check_companions(const Batch& batch, const Shape& images) {
    const Shape mask = batch.mask ? B::shape(*batch.mask) : images;
    const Shape each{images[0], images[1], images[2], images[3]}, shared{images[0], 1, images[2], images[3]};
    if (mask != each && mask != shared) {
      refuse<ShapeError>("TrainStep", "mask",
                         str('[', images[0], ", 1 or ", images[1], ", ", images[2], ", ", images[3], ']'),
                         to_string(mask));
    }
    const auto check_rows = [&](const std::optional<typename B::Tensor>& labels, std::string_view name) {
      const Shape shape = labels ? B::shape(*labels) : images;
      if (!shape.empty() && shape[0] == images[0]) return;
      refuse<ShapeError>("TrainStep", name, str(images[0], " rows, one per image"), to_string(shape));
    };
    check_rows(batch.class_labels, "class_labels");
    check_rows(batch.augment_labels, "augment_labels");
  }

  /// Draws: one uniform number per sample (`Purpose::label_dropout`), only where labels can be dropped.
  std::optional<typename B::Tensor> kept_labels(const PatchBatch<B>& batch, const PatchPlan& plan) const {
    if (!batch.class_labels || options_.label_dropout == 0) return batch.class_labels;
    std::vector<double> kept;
    for (std::int64_t sample = 0; sample < B::shape(*batch.class_labels).front(); ++sample) {
      const RandomStream stream =
          plan.stream(Purpose::label_dropout, batch.first_sample + static_cast<std::uint64_t>(sample));
      kept.push_back(stream.uniform(0) < options_.label_dropout ? 0.0 : 1.0);
    }
    return B::scale(kept, *batch.class_labels);
  }

  typename B::Tensor per_pixel(const typename B::Tensor& per_sample, const typename B::Tensor& images) const {
    if (loss_.options().reduction == Reduction::mean) return per_sample;
    const Shape shape = B::shape(images);
    return linear<B>(1.0 / static_cast<double>(shape[1] * shape[2] * shape[3]), per_sample);
  }

  TrainStepOptions options_;
  EDMLoss<B> loss_;
};

}  // namespace patchdiff
