// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <patchdiff/io/checkpoint.hpp>
#include <patchdiff/nn/torch/autograd_network.hpp>
#include <patchdiff/torch.hpp>
#include <patchdiff/training/trainer.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;

/// One weight, whose gradient passes through float16 on its way, as in a network that computes in it; a small factor
/// makes it small.
class HalfNetwork : public AutogradNetwork<HalfNetwork> {
 public:
  explicit HalfNetwork(double factor, bool half = true, TorchDevice device = {})
      : AutogradNetwork(device), factor_(factor), half_(half) {
    weight_ = add_parameter("weight", at::ones({1}, device.options()));
  }
  HalfNetwork clone() const {
    HalfNetwork copy(factor_, half_, device());
    copy.copy_state(*this);
    return copy;
  }
  at::Tensor forward(const at::Tensor& input, std::span<const double>, const Conditioning<B>&, const Pass&) const {
    const at::Tensor weight = half_ ? weight_.to(at::kHalf).to(at::kFloat) : weight_;
    return input.narrow(1, 0, 1) * (weight * factor_);
  }
  std::int64_t input_channels() const noexcept { return 3; }
  std::int64_t output_channels() const noexcept { return 1; }
  std::int64_t label_dim() const noexcept { return 0; }
  std::int64_t size_divisor() const noexcept { return 1; }
  double weight() const { return weight_.item<double>(); }

 private:
  double factor_;
  bool half_;
  at::Tensor weight_;
};

using Denoiser = DenoiserWrapper<HalfNetwork>;

Denoiser make(double factor, bool half = true, TorchDevice device = {}) {
  return {HalfNetwork(factor, half, device), {.image = {1, 4, 4}}};
}

TrainStep<B> step_of(NonFinite policy) {
  return TrainStep<B>({.schedule = PatchSizeSchedule::stochastic({.image = {4, 4}}),
                       .batch = 4,
                       .max_gradient_norm = 1e9,
                       .non_finite = policy});
}

ImageBatch<B> batch_of(const PatchPlan& plan, TorchDevice device = {}) {
  return {.images = random_tensor<B>({plan.images, 1, 4, 4}, plan.step, device)};
}

/// The norm of the gradients of one step, back at their own scale.
double gradient_norm(Denoiser denoiser, LossScale scale) {
  const TrainStep<B> step = step_of(NonFinite::skip);
  Adam<B> adam;
  TrainState state{.seed = 1};
  const PatchPlan plan = step.plan(state);
  return B::to_host(step(denoiser, adam, batch_of(plan), plan, state, scale).gradient_norm.value())[0];
}

TEST_CASE("gradients that float16 cannot hold are zero without a loss scale, and right with one") {
  const double factor = 1e-10;
  const double expected = gradient_norm(make(factor, false), LossScale({.initial = 1}));
  CHECK(expected > 0);
  CHECK(gradient_norm(make(factor), LossScale({.initial = 1})) == 0);
  CHECK(gradient_norm(make(factor), LossScale({.initial = 1048576})) == Approx(expected).epsilon(1e-2));
  // A power of two that nothing rounds changes no bit.
  CHECK(gradient_norm(make(factor, false), LossScale({.initial = 65536})) == expected);
}

TEST_CASE("a step that overflows is left out, and halves the scale until one fits") {
  const NonFinite policy = GENERATE(NonFinite::skip, NonFinite::guarded);
  Denoiser denoiser = make(4);
  const TrainStep<B> step = step_of(policy);
  LossScale scale({.initial = 16777216});
  Adam<B> adam;
  TrainState state{.seed = 1};
  double last = scale.value();
  int left_out = 0;
  for (; left_out < 24; ++left_out) {
    const double weight = denoiser.network().weight();
    const PatchPlan plan = step.plan(state);
    const StepReport<B> report = step(denoiser, adam, batch_of(plan), plan, state, scale);
    if (B::read_flag(report.finite.value())) break;
    CHECK(denoiser.network().weight() == weight);
    CHECK(scale.value() == last / 2);
    last = scale.value();
  }
  CHECK(left_out > 3);
  CHECK(left_out < 24);
  CHECK(scale.value() == last);
  CHECK(denoiser.network().weight() != 1);
  CHECK(state.skipped == (policy == NonFinite::skip ? static_cast<std::uint64_t>(left_out) : 0));
}

TEST_CASE("the scale doubles after so many finite steps in a row, and stays within its bounds") {
  LossScale scale({.initial = 8, .growth_interval = 3, .largest = 32});
  const at::Tensor finite = at::ones({}), not_finite = at::zeros({});
  const auto after = [&](const std::vector<bool>& steps) {
    for (const bool ok : steps) scale.update(ok ? finite : not_finite);
    return scale.value();
  };
  CHECK(after({true, true}) == 8);
  CHECK(after({true}) == 16);
  CHECK(after({true, true, false}) == 8);  // counted anew
  CHECK(after({true, true}) == 8);
  CHECK(after({true}) == 16);
  CHECK(after({true, true, true}) == 32);
  CHECK(after({true, true, true}) == 32);
  CHECK(after({false, false, false, false, false, false, false}) == 1);
  LossScale usual;
  for (int i = 0; i < 1999; ++i) usual.update(finite);
  CHECK(usual.value() == 65536);
  usual.update(finite);
  CHECK(usual.value() == 131072);
  usual.update(not_finite);
  CHECK(usual.value() == 65536);
}

TEST_CASE("a checkpoint holds the loss scale") {
  const TemporaryFolder folder;
  const auto save_and_load = [&](LossScale& from, LossScale& to) {
    Checkpoint::save(folder / "checkpoint", CheckpointParts<B>().add("loss_scale", from), {});
    Checkpoint(folder / "checkpoint").restore(CheckpointParts<B>().add("loss_scale", to));
  };
  LossScale scale({.initial = 8, .growth_interval = 3}), resumed({.initial = 4, .growth_interval = 3});
  scale.update(at::ones({}));
  scale.update(at::ones({}));
  save_and_load(scale, resumed);
  CHECK(resumed.value() == 8);
  resumed.update(at::ones({}));
  CHECK(resumed.value() == 16);
}

TEST_CASE("a loss scale reads nothing of the device in a guarded step") {
  const TorchDevice meta{at::kMeta, at::kFloat};
  Denoiser denoiser = make(1, true, meta);
  LossScale scale({}, meta);
  Adam<B> adam;
  TrainState state;
  const TrainStep<B> step = step_of(NonFinite::guarded);
  const PatchPlan plan = step.plan(state);
  CHECK(step(denoiser, adam, batch_of(plan, meta), plan, state, scale).finite.value().is_meta());
  CHECK_THROWS(scale.value());
}

/// Images of any step.
struct AnyLoader {
  ImageBatch<B> take(const PatchPlan& plan, std::uint64_t first, std::int64_t count) {
    return {.images =
                random_tensor<B>({plan.images, 1, 4, 4}, plan.step).narrow(0, static_cast<std::int64_t>(first), count),
            .first_sample = first};
  }
};

TEST_CASE("a Trainer in parts has one scale for all of a step") {
  const double factor = 1e-10;
  double norms[2];
  for (const bool in_parts : {false, true}) {
    Denoiser denoiser = make(factor);
    Adam<B> adam;
    AnyLoader loader;
    TrainState state{.seed = 1};
    LossScale scale({.initial = 1048576});
    const OneProcess processes;
    TrainerOptions options{.step = step_of(NonFinite::skip).options()};
    if (in_parts) options.micro_batch = 2;
    Trainer trainer(denoiser, adam, loader, state, options, processes, scale);
    norms[in_parts] = B::to_host(trainer.step().gradient_norm.value())[0];
  }
  CHECK(norms[0] > 0);
  CHECK(norms[1] == Approx(norms[0]).epsilon(1e-2));
}

TEST_CASE("a loss scale refuses what cannot work") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK_ERROR(ConfigError, "LossScale: initial: expected a power of two in [1, 16777216], got 3",
              LossScale({.initial = 3}));
  CHECK_ERROR(ConfigError, "LossScale: initial: expected a power of two in [1, 16777216], got 33554432",
              LossScale({.initial = 33554432}));
  CHECK_ERROR(ConfigError, "LossScale: largest: expected a power of two >= 1, got inf",
              LossScale({.largest = infinity}));
  CHECK_ERROR(ConfigError, "LossScale: growth: expected a power of two > 1, got 1", LossScale({.growth = 1}));
  CHECK_ERROR(ConfigError, "LossScale: backoff: expected a power of two < 1, got 0", LossScale({.backoff = 0}));
  CHECK_ERROR(ConfigError, "LossScale: growth_interval: expected at least 1, got 0", LossScale({.growth_interval = 0}));
  Denoiser denoiser = make(1);
  Adam<B> adam;
  TrainState state;
  const TrainStep<B> step = step_of(NonFinite::fail);
  const PatchPlan plan = step.plan(state);
  LossScale scale;
  CHECK_ERROR(ConfigError,
              "TrainStep: non_finite: expected NonFinite::skip or NonFinite::guarded with a loss scale, got "
              "NonFinite::fail",
              step(denoiser, adam, batch_of(plan), plan, state, scale));
}

}  // namespace
}  // namespace patchdiff
