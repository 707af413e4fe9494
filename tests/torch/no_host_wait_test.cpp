// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <torch/library.h>

#include <patchdiff/torch.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"
#include "support/operator_counts.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;

// Shapes of what C++ has no meta kernel for, boxed, as the arguments' types differ between LibTorch versions.

using Stack = std::vector<c10::IValue>;

void answer(Stack& stack, std::size_t arguments, std::initializer_list<at::Tensor> results) {
  stack.resize(stack.size() - arguments);
  for (const at::Tensor& result : results) stack.emplace_back(result);
}

void convolution(const c10::OperatorHandle&, Stack* stack) {
  const c10::IValue* argument = stack->data() + stack->size() - 9;
  const at::Tensor input = argument[0].toTensor(), weight = argument[1].toTensor();
  const auto stride = argument[3].toIntVector(), padding = argument[4].toIntVector();
  const auto side = [&](std::int64_t axis) {
    const auto at = static_cast<std::size_t>(axis - 2);
    return (input.size(axis) + 2 * padding[at] - weight.size(axis)) / stride[at] + 1;
  };
  answer(*stack, 9, {at::empty({input.size(0), weight.size(0), side(2), side(3)}, input.options())});
}

void convolution_backward(const c10::OperatorHandle&, Stack* stack) {
  const c10::IValue* argument = stack->data() + stack->size() - 10;
  const at::Tensor input = argument[1].toTensor(), weight = argument[2].toTensor();
  answer(*stack, 10, {at::empty_like(input), at::empty_like(weight), at::empty({weight.size(0)}, weight.options())});
}

void group_norm(const c10::OperatorHandle&, Stack* stack) {
  const c10::IValue* argument = stack->data() + stack->size() - 8;
  const at::Tensor input = argument[0].toTensor();
  const at::Tensor moments = at::empty({input.size(0), argument[6].toInt()}, input.options());
  answer(*stack, 8, {at::empty_like(input), moments, at::empty_like(moments)});
}

void group_norm_backward(const c10::OperatorHandle&, Stack* stack) {
  const c10::IValue* argument = stack->data() + stack->size() - 10;
  const at::Tensor input = argument[1].toTensor(), weight = argument[4].toTensor();
  answer(*stack, 10, {at::empty_like(input), at::empty_like(weight), at::empty_like(weight)});
}

TORCH_LIBRARY_IMPL(aten, Meta, m) {
  m.impl("convolution_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution>());
  m.impl("convolution_backward_overrideable", torch::CppFunction::makeFromBoxedFunction<&convolution_backward>());
  m.impl("native_group_norm", torch::CppFunction::makeFromBoxedFunction<&group_norm>());
  m.impl("native_group_norm_backward", torch::CppFunction::makeFromBoxedFunction<&group_norm_backward>());
}

constexpr ImageShape image{2, 16, 8};

/// A model with labels, dropout, attention and fields, of two levels.
DenoiserWrapper<SongUNet> model(TorchDevice device) {
  return {SongUNet({.image = image.size(),
                    .in_channels = 2 + 2 + 1,
                    .out_channels = 2,
                    .label_dim = 3,
                    .model_channels = 8,
                    .channel_mult = {1, 2},
                    .num_blocks = 1,
                    .attn_resolutions = {8}},
                   {1}, device),
          {.image = image}};
}

TrainStep<B> step_of(NonFinite policy) {
  return TrainStep<B>({.schedule = PatchSizeSchedule::stochastic({.image = image.size()}),
                       .batch = 2,
                       .label_dropout = 0.2,
                       .max_gradient_norm = 0.5,
                       .non_finite = policy});
}

ImageBatch<B> batch_of(std::int64_t count, TorchDevice device) {
  const auto zeros = [&](const Shape& shape) { return B::zeros(shape, device); };
  return {.images = zeros({count, 2, 16, 8}),
          .mask = zeros({count, 1, 16, 8}),
          .fields = zeros({count, 1, 16, 8}),
          .class_labels = zeros({count, 3})};
}

// LibTorch's meta device has shapes and no values: whatever would read one throws.

TEST_CASE("nothing in a guarded training step reads a value of the device") {
  const TorchDevice meta{at::kMeta, at::kFloat};
  auto denoiser = model(meta);
  Adam<B> adam;
  EMA<B> ema(denoiser);
  TrainState state;
  std::set<std::int64_t> heights;
  while (heights.size() < 3) {
    const TrainStep<B> step = step_of(NonFinite::guarded);
    const PatchPlan plan = step.plan(state);
    heights.insert(plan.patch.height);
    const StepReport<B> report = step(denoiser, adam, batch_of(plan.images, meta), plan, state);
    ema.update(denoiser, state);
    CHECK(report.per_sample.is_meta());
    CHECK(report.gradient_norm.value().is_meta());
    CHECK_THROWS(report.loss());
  }
  const PatchPlan plan = step_of(NonFinite::fail).plan(state);
  CHECK_THROWS(step_of(NonFinite::fail)(denoiser, adam, batch_of(plan.images, meta), plan, state));
}

TEST_CASE("nothing in sampling reads a value of the device") {
  const TorchDevice meta{at::kMeta, at::kFloat};
  const auto denoiser = model(meta);
  const GuidedDenoiser guided(denoiser, 2);
  const ImageBatch<B> told = batch_of(2, meta);
  const at::Tensor samples = ODESampler({.num_steps = 2, .check_finite = false}, Churn({.s_churn = 1}))(
      guided, {.seeds = {1, 2}, .conditioning = {.class_labels = told.class_labels, .fields = told.fields}});
  CHECK(samples.is_meta());
  CHECK(samples.scalar_type() == at::kDouble);
  const auto watch = [](const SamplingProgress<B>& progress) {
    CHECK_THROWS(progress.finite());
    return Flow::proceed;
  };
  CHECK_THROWS(ODESampler{{.num_steps = 2}}(
      guided, {.seeds = {1, 2}, .conditioning = {.class_labels = told.class_labels, .fields = told.fields}}, watch));
}

TEST_CASE("bfloat16 on a device without autocast is refused") {
  CHECK_ERROR(ConfigError,
              "AutocastGuard: precision: expected float32 on a device without autocast, got bfloat16 on meta",
              AutocastGuard(at::kMeta, Precision::bfloat16));
}

TEST_CASE("a step reads one flag from the device under fail and skip, and nothing under guarded") {
  for (const NonFinite policy : {NonFinite::guarded, NonFinite::fail, NonFinite::skip}) {
    auto denoiser = model({});
    Adam<B> adam;
    EMA<B> ema(denoiser);
    TrainState state;
    const TrainStep<B> step = step_of(policy);
    const PatchPlan plan = step.plan(state);
    const ImageBatch<B> batch = batch_of(plan.images, {});
    const OperatorCounts observed;
    step(denoiser, adam, batch, plan, state);
    ema.update(denoiser, state);
    std::map<std::string, int> counts = OperatorCounts::counts();
    CHECK(counts["aten::convolution"] > 10);
    CHECK(counts["aten::convolution_backward"] > 10);
    CHECK(counts["aten::nonzero"] == 0);
    CHECK(counts["aten::_local_scalar_dense"] == (policy == NonFinite::guarded ? 0 : 1));
  }
}

}  // namespace
}  // namespace patchdiff
