// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/optim/sgd.h>

#include <patchdiff/torch.hpp>
#include <patchdiff/training/torch/torch_optimizer.hpp>

#include "support/torch_catch.hpp"

#include "support/errors.hpp"
#include "support/random_weights.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;
using Denoiser = DenoiserWrapper<SongUNet>;

SongUNetOptions options() {
  return {.image = {16, 16},
          .in_channels = 3,
          .out_channels = 1,
          .model_channels = 16,
          .channel_mult = {1, 2},
          .num_blocks = 1,
          .attn_resolutions = {8},
          .dropout = 0};
}

Denoiser make(Precision precision) {
  return {with_random_weights(SongUNet(options())), {.image = {1, 16, 16}, .precision = precision}};
}

TrainStep<B> step_of(NonFinite policy = NonFinite::fail) {
  return TrainStep<B>(
      {.schedule = PatchSizeSchedule::stochastic({.image = {16, 16}}), .batch = 2, .non_finite = policy});
}

template <class D, class O>
StepReport<B> take_step(D& denoiser, O& optimizer, TrainState& state) {
  const TrainStep<B> step = step_of();
  const PatchPlan plan = step.plan(state);
  return step(denoiser, optimizer, {.images = random_tensor<B>({plan.images, 1, 16, 16}, state.step)}, plan, state);
}

const std::vector<double> sigma{0.4, 2.0};
const Places places = Places::whole({16, 16}, 2);
const at::Tensor x = random_tensor<B>({2, 1, 16, 16}, 2);

/// All gradients of <D(x), x>, one after the other.
at::Tensor gradients(Denoiser& denoiser) {
  zero_gradients(denoiser);
  denoiser.backward(denoiser.record(x, sigma, places, {}, {.training = true}), x);
  std::vector<at::Tensor> all;
  denoiser.visit_parameters([&](auto, at::Tensor&, at::Tensor& gradient) { all.push_back(gradient.flatten()); });
  return at::cat(all);
}

TEST_CASE("weights, gradients, loss, averages and the optimiser's state stay in float32") {
  Denoiser denoiser = make(Precision::bfloat16);
  Adam<B> adam({.learning_rate = 1e-3});
  EMA<B> ema(denoiser);
  TrainState state{.seed = 1};
  for (int i = 0; i < 3; ++i) {
    const StepReport<B> report = take_step(denoiser, adam, state);
    ema.update(denoiser, state);
    CHECK(report.per_sample.scalar_type() == at::kFloat);
  }
  denoiser.visit_parameters([](std::string_view name, at::Tensor& value, at::Tensor& gradient) {
    CAPTURE(std::string(name));
    CHECK(value.scalar_type() == at::kFloat);
    CHECK(gradient.scalar_type() == at::kFloat);
    CHECK(value.is_contiguous());
    CHECK(gradient.is_contiguous());
  });
  adam.visit_state([](auto, at::Tensor& value) { CHECK(value.scalar_type() == at::kFloat); });
  ema.visit_state([](auto, at::Tensor& value) { CHECK(value.scalar_type() == at::kFloat); });
  // Steps too small for bfloat16 are not lost.
  const at::Tensor before = denoiser.network().parameters()[0].detach().clone();
  adam.set_learning_rate(1e-6);
  take_step(denoiser, adam, state);
  const at::Tensor moved = denoiser.network().parameters()[0].detach() - before;
  CHECK(moved.ne(0).sum().item<std::int64_t>() > moved.numel() / 2);
}

TEST_CASE("gradients in bfloat16 are near those in float32") {
  Denoiser exact = make(Precision::float32), coarse = make(Precision::bfloat16);
  const at::Tensor expected = gradients(exact), got = gradients(coarse);
  const double error = ((got - expected).norm() / expected.norm()).item<double>();
  CAPTURE(error);
  CHECK(error > 1e-4);
  CHECK(error < 0.03);
}

TEST_CASE("products in bfloat16 are not summed in bfloat16") {
  const AutocastGuard autocast(at::kCPU, Precision::bfloat16);
  const auto require_count = [](std::int64_t count, const at::Tensor& sums, at::IntArrayRef sizes) {
    CHECK(sums.scalar_type() == at::kBFloat16);
    CHECK(sums.sizes() == sizes);
    CHECK(sums.eq(count).all().item<bool>());
  };
  // 256 + 1 is 256 in bfloat16. Of up to 4,096 multiplications, LibTorch's products round on every processor.
  const at::Tensor rows = at::ones({16, 1024}), image = at::ones({1, 1024, 2, 2});
  namespace products = unet::products;
  require_count(1024, products::linear(rows, rows), {16, 16});
  require_count(1024, products::matrices(rows.unsqueeze(0), rows.t().unsqueeze(0)), {1, 16, 16});
  require_count(1024, products::convolution(image, at::ones({1, 1024, 1, 1}), at::zeros(1), {}), {1, 1, 2, 2});
}

TEST_CASE("gradients of products in bfloat16 are not summed in bfloat16") {
  const at::AutoGradMode with_gradients(true);
  const auto require_gradient = [](at::IntArrayRef sizes, const auto& product) {
    const at::Tensor operand = at::ones(sizes).requires_grad_();
    const at::Tensor output = [&] {
      const AutocastGuard autocast(at::kCPU, Precision::bfloat16);
      return product(operand);
    }();
    output.backward(at::ones_like(output));
    CHECK(operand.grad().eq(1024).all().template item<bool>());
  };
  namespace products = unet::products;
  require_gradient({1, 1, 1, 1}, [](const at::Tensor& weight) {
    return products::convolution(at::ones({1, 1, 32, 32}), weight, {}, {});
  });
  require_gradient({1, 1, 2, 2}, [](const at::Tensor& input) {
    return products::convolution(input, at::ones({1024, 1, 1, 1}), {}, {});
  });
  require_gradient({16, 16}, [](const at::Tensor& input) { return products::linear(input, at::ones({1024, 16})); });
  require_gradient({1, 16, 16}, [](const at::Tensor& input) {
    return products::matrices(input, at::ones({1, 16, 1024}));
  });
}

TEST_CASE("a network in bfloat16 sees what bfloat16 would round away from its input") {
  const at::NoGradGuard no_grad;
  SongUNet network = with_random_weights(SongUNet(options()));
  network.visit_state([](std::string_view name, at::Tensor& value) {
    if (name == "enc.16x16_conv.bias") value.zero_();
    if (name != "enc.16x16_conv.weight") return;  // sees how far the first channel is from the second one
    value.select(1, 1).copy_(-value.select(1, 0));
    value.select(1, 2).zero_();
  });
  // Where an image is black, c_in x is about -2, and bfloat16's numbers are 2^-6 apart.
  const at::Tensor black = at::full({1, 3, 16, 16}, -2.0), noise = at::zeros({1, 3, 16, 16});
  noise.select(1, 0).copy_(0.002 * random_tensor<B>({1, 16, 16}, 3));
  const auto effect = [&](Precision precision) {
    const std::vector<double> c_noise{-1};
    const Pass pass{.precision = precision};
    return network(black + noise, c_noise, {}, pass) - network(black, c_noise, {}, pass);
  };
  const at::Tensor expected = effect(Precision::float32);
  const double error = ((effect(Precision::bfloat16) - expected).norm() / expected.norm()).item<double>();
  CAPTURE(error);
  CHECK(error < 0.1);
}

TEST_CASE("two runs of the same draws have near losses in both precisions") {
  double mean[2] = {};
  for (const Precision precision : {Precision::float32, Precision::bfloat16}) {
    Denoiser denoiser{SongUNet(options(), {1}), {.image = {1, 16, 16}, .precision = precision}};
    Adam<B> adam({.learning_rate = 1e-3});
    TrainState state{.seed = 1};
    for (int i = 0; i < 30; ++i) mean[precision == Precision::bfloat16] += take_step(denoiser, adam, state).loss() / 30;
  }
  CHECK(mean[1] == Approx(mean[0]).epsilon(0.01));
  CHECK(mean[1] != mean[0]);
}

/// What autocast is in this thread.
struct Autocast {
  bool enabled = torch_compat::autocast_enabled(at::kCPU);
  bool cached = at::autocast::is_autocast_cache_enabled();
  at::ScalarType type = torch_compat::autocast_type(at::kCPU);
  friend bool operator==(const Autocast&, const Autocast&) = default;
};

TEST_CASE("autocast is put back as it was, whatever it was and however the scope ends") {
  const Autocast before;
  for (const bool enabled : {false, true}) {
    torch_compat::set_autocast_enabled(at::kCPU, enabled);
    at::autocast::set_autocast_cache_enabled(!enabled);
    const Autocast here;
    {
      const AutocastGuard guard(at::kCPU, Precision::bfloat16);
      CHECK(torch_compat::autocast_enabled(at::kCPU));
      const AutocastGuard inner(at::kCPU, Precision::float32);
      CHECK_FALSE(torch_compat::autocast_enabled(at::kCPU));
    }
    CHECK(Autocast() == here);
    try {
      const AutocastGuard guard(at::kCPU, Precision::bfloat16);
      throw std::runtime_error("stops");
    } catch (const std::runtime_error&) {
    }
    CHECK(Autocast() == here);
    SongUNet network(options());
    // Fails deep in the network: 5 rows halve to 2, and come back as 4.
    CHECK_THROWS(network(at::zeros({1, 3, 5, 4}), std::vector<double>{0.1}, {}, {.precision = Precision::bfloat16}));
    CHECK(Autocast() == here);
  }
  torch_compat::set_autocast_enabled(at::kCPU, before.enabled);
  at::autocast::set_autocast_cache_enabled(before.cached);
  CHECK(Autocast() == before);
}

TEST_CASE("autocast of one thread reaches no other") {
  const AutocastGuard guard(at::kCPU, Precision::bfloat16);
  bool enabled = true;
  at::ScalarType type = at::kBFloat16;
  std::thread([&] {
    enabled = torch_compat::autocast_enabled(at::kCPU);
    type = at::linear(at::ones({2, 2}), at::ones({2, 2})).scalar_type();
  }).join();
  CHECK_FALSE(enabled);
  CHECK(type == at::kFloat);
}

TEST_CASE("a host's own autocast leaves a float32 network in float32") {
  const Denoiser denoiser = make(Precision::float32);
  const at::Tensor expected = denoiser(x, sigma, places);
  torch_compat::set_autocast_enabled(at::kCPU, true);
  const at::Tensor got = denoiser(x, sigma, places);
  torch_compat::set_autocast_enabled(at::kCPU, false);
  CHECK(at::equal(got, expected));
}

TEST_CASE("the network runs on the weights that it has, however they were changed") {
  Denoiser denoiser = make(Precision::bfloat16);
  const auto changed = [&](std::string_view how) {
    CAPTURE(std::string(how));
    const at::Tensor got = denoiser(x, sigma, places);
    CHECK(at::equal(got, denoiser.clone()(x, sigma, places)));  // a copy has seen no other weights
    return got;
  };
  at::Tensor last = changed("not at all");
  const auto differs = [&](const at::Tensor& now) {
    CHECK_FALSE(at::equal(now, last));
    last = now;
  };
  TrainState state{.seed = 1};
  Adam<B> adam({.learning_rate = 1e-2});
  take_step(denoiser, adam, state);
  differs(changed("by Adam"));
  TorchOptimizer sgd(
      std::make_unique<torch::optim::SGD>(denoiser.network().parameters(), torch::optim::SGDOptions(0.1)));
  take_step(denoiser, sgd, state);
  differs(changed("by LibTorch's SGD"));
  denoiser.visit_state([](auto, at::Tensor& value) { B::assign(value, value * 1.5); });
  differs(changed("as weights are loaded"));
  for (at::Tensor weight : denoiser.network().parameters()) weight.data().mul_(0.9);
  differs(changed("behind autograd's back"));
  for (at::Tensor weight : denoiser.network().parameters()) weight.data_ptr<float>()[0] += 1;
  differs(changed("in place"));
}

TEST_CASE("a precision that the device lacks becomes float32, and the log says so") {
  std::vector<std::string> said;
  const Log log = [&](std::string_view text) { said.emplace_back(text); };
  const TorchDevice cpu{};
  CHECK(usable_precision(Precision::float32, cpu, log, false) == Precision::float32);
  CHECK(usable_precision(Precision::bfloat16, cpu, log, true) == Precision::bfloat16);
  CHECK(said.empty());
  CHECK(usable_precision(Precision::bfloat16, cpu, log, false) == Precision::float32);
  CHECK(usable_precision(Precision::float16, cpu, log, true) == Precision::float32);
  CHECK(usable_precision(Precision::bfloat16, {at::kCPU, at::kDouble}, log, true) == Precision::float32);
  CHECK(usable_precision(Precision::bfloat16, {at::kMeta, at::kFloat}, log, true) == Precision::float32);
  const std::string form = "usable_precision: precision: expected what the device has, got ";
  CHECK(said ==
        std::vector<std::string>{form + "bfloat16 on a processor without AVX512-BF16 and AMX-BF16; float32 is used",
                                 form + "float16 on the processor; float32 is used",
                                 form + "bfloat16 beside weights that are not float32; float32 is used",
                                 form + "bfloat16 on a device without autocast; float32 is used"});
  CHECK(usable_precision(Precision::float16, cpu) == Precision::float32);
  CHECK(usable_precision(Precision::float16, {at::kCUDA, at::kFloat}, log) == Precision::float16);
  CHECK_ERROR(ConfigError, "AutocastGuard: precision: expected float32 or bfloat16 on the processor, got float16",
              AutocastGuard(at::kCPU, Precision::float16));
}

}  // namespace
}  // namespace patchdiff
