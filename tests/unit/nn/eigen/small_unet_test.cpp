// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/nn/eigen/small_unet.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/train_step.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = EigenBackend<double>;
using Net = SmallUNet<double>;

SmallUNetOptions options(std::vector<std::int64_t> channel_mult, std::int64_t num_blocks = 1) {
  return {.in_channels = 3,
          .out_channels = 2,
          .label_dim = 3,
          .model_channels = 4,
          .channel_mult = std::move(channel_mult),
          .num_blocks = num_blocks};
}

/// Normal weights everywhere: the layers that start near zero hide what stands before them.
template <class Scalar>
SmallUNet<Scalar> with_random_weights(SmallUNet<Scalar> net) {
  std::uint64_t seed = 0;
  net.visit_state([&](std::string_view, EigenTensor<Scalar>& value) {
    EigenBackend<Scalar>::assign(value, random_tensor<EigenBackend<Scalar>>(value.shape(), ++seed));
    value.array() *= Scalar(0.3);
  });
  return net;
}

template <class Model>
std::vector<double> gradients(Model& model) {
  std::vector<double> all;
  model.visit_parameters([&](auto, auto&, auto& gradient) {
    const auto values = Model::Backend::to_host(gradient);
    all.insert(all.end(), values.begin(), values.end());
  });
  return all;
}

/// A batch for a network of `options(...)`, and the function <output, cotangent> of it.
struct Batch {
  explicit Batch(std::int64_t count, ImageSize size)
      : input(random_tensor<B>({count, 3, size.height, size.width}, 11)),
        cotangent(random_tensor<B>({count, 2, size.height, size.width}, 12)),
        told{.class_labels = random_tensor<B>({count, 3}, 13)} {
    for (std::int64_t n = 0; n < count; ++n) c_noise.push_back(0.3 * static_cast<double>(n) - 0.7);
  }

  double value(const Net& net) const { return inner_product<B>(net(input, c_noise, told, {}), cotangent); }

  /// Gradients of the weights, then of the input.
  std::vector<double> analytic(Net& net) const {
    const auto input_slope = net.backward(net.record(input, c_noise, told, {.input_gradient = true}), cotangent);
    std::vector<double> all = gradients(net);
    const std::vector<double> of_input = B::to_host(input_slope.value());
    all.insert(all.end(), of_input.begin(), of_input.end());
    return all;
  }

  B::Tensor input, cotangent;
  std::vector<double> c_noise{};
  Conditioning<B> told;
};

// Central differences with a step of 1e-5 are exact to about 1e-9 here.
TEST_CASE("every gradient of SmallUNet is a derivative") {
  const std::vector<std::pair<SmallUNetOptions, ImageSize>> cases{{options({1, 2}), {4, 6}},
                                                                  {options({2, 1, 1}, 2), {4, 4}},
                                                                  {options({1}), {1, 1}},
                                                                  {options({1}), {1, 5}},
                                                                  {options({1}), {3, 1}}};
  for (const auto& [settings, size] : cases) {
    CAPTURE(to_string(size));
    Net net = with_random_weights(Net(settings));
    Batch batch(2, size);
    const std::vector<double> analytic = batch.analytic(net);
    std::size_t index = 0;
    const auto check = [&](B::Tensor& moved) {
      for (double& number : std::span(moved.data(), static_cast<std::size_t>(moved.size()))) {
        const double before = number;
        const double slope = central_difference([&](double step) {
          number = before + step;
          return batch.value(net);
        });
        number = before;
        if (analytic[index] != Approx(slope).epsilon(1e-6).margin(1e-7)) CHECK(analytic[index] == Approx(slope));
        ++index;
      }
    };
    net.visit_state([&](std::string_view name, B::Tensor& value) {
      CAPTURE(std::string(name));
      check(value);
    });
    check(batch.input);
    CHECK(index == analytic.size());
  }
}

TEST_CASE("gradients of images that are convolved in several tiles are derivatives") {
  Net net = with_random_weights(Net(options({3, 1})));  // 12 channels: tiles of 4 rows, the last one shorter
  Batch batch(1, {46, 24});
  const std::vector<double> analytic = batch.analytic(net);
  const B::Tensor direction = random_tensor<B>({static_cast<std::int64_t>(analytic.size())}, 5);
  double expected = 0;
  for (std::size_t i = 0; i < analytic.size(); ++i) expected += analytic[i] * direction.data()[i];
  const auto move = [&](double step) {
    const double* along = direction.data();
    const auto shift = [&](B::Tensor& x) {
      for (std::int64_t i = 0; i < x.size(); ++i) x.data()[i] += step * *along++;
    };
    net.visit_state([&](std::string_view, B::Tensor& value) { shift(value); });
    shift(batch.input);
  };
  const double slope = central_difference([&](double step) {
    move(step);
    const double value = batch.value(net);
    move(-step);
    return value;
  });
  CHECK(expected == Approx(slope).epsilon(1e-6));
}

TEST_CASE("backward adds to the gradients, and a record serves more than once") {
  Net net = with_random_weights(Net(options({1, 2})));
  const Batch batch(3, {4, 4});
  const auto record = net.record(batch.input, batch.c_noise, batch.told, {});
  CHECK_FALSE(net.backward(record, batch.cotangent));
  const std::vector<double> once = gradients(net);
  net.backward(record, batch.cotangent);
  const std::vector<double> twice = gradients(net);
  for (std::size_t i = 0; i < once.size(); ++i)
    if (twice[i] != Approx(2 * once[i]).epsilon(1e-12).margin(1e-12)) CHECK(twice[i] == 2 * once[i]);
  const auto by_input =
      net.record(batch.input, batch.c_noise, batch.told, {.input_gradient = true, .parameter_gradients = false});
  CHECK(net.backward(by_input, batch.cotangent));
  CHECK(gradients(net) == twice);
}

TEMPLATE_TEST_CASE("the same bits for any number of threads, and any split of the batch", "", float, double) {
  using Backend = EigenBackend<TestType>;
  constexpr std::int64_t count = 21;  // more than there are blocks of gradients, and the last block is smaller
  const auto run = [&](EigenDevice<TestType> device, std::int64_t first, std::int64_t samples) {
    SmallUNet<TestType> net = with_random_weights(SmallUNet<TestType>(options({1, 2}), {}, device));
    const auto part = [&](std::int64_t channels, std::uint64_t seed) {
      return Backend::slice(random_tensor<Backend>({count, channels, 6, 10}, seed, device), 0, first, samples);
    };
    const std::vector<double> c_noise(static_cast<std::size_t>(samples), 0.4);
    const auto record = net.record(part(3, 1), c_noise, {}, {.input_gradient = true});
    const auto slope = net.backward(record, part(2, 2));
    return std::vector<std::vector<double>>{Backend::to_host(record.output), gradients(net),
                                            Backend::to_host(slope.value())};
  };
  const auto serial = run({}, 0, count);
  for (const int threads : {1, 2, 3, 5}) {
    ThreadExecutor pool(threads);
    CHECK(run({pool}, 0, count) == serial);
  }
  std::vector<double> output;
  for (const auto& [first, samples] : {std::pair{0, 8}, {8, 1}, {9, 12}}) {
    const std::vector<double> part = run({}, first, samples)[0];
    output.insert(output.end(), part.begin(), part.end());
  }
  CHECK(output == serial[0]);
}

TEST_CASE("labels tell; none at all are rows of zeros, and no samples are no error") {
  Net net = with_random_weights(Net(options({1, 2})));
  const Batch batch(2, {4, 4});
  const auto told = B::to_host(net(batch.input, batch.c_noise, batch.told, {}));
  const auto untold = B::to_host(net(batch.input, batch.c_noise, {}, {}));
  CHECK(untold == B::to_host(net(batch.input, batch.c_noise, batch.told.without_labels(), {})));
  CHECK(untold != told);
  const auto record = net.record(B::zeros({0, 3, 4, 4}, {}), {}, {}, {.input_gradient = true});
  CHECK(record.output.shape() == Shape{0, 2, 4, 4});
  CHECK(net.backward(record, record.output)->shape() == Shape{0, 3, 4, 4});
}

TEST_CASE("a clone is a network of its own") {
  const Batch batch(2, {4, 4});
  const Net net = with_random_weights(Net(options({1, 2})));
  Net copy = net.clone();
  const auto before = B::to_host(net(batch.input, batch.c_noise, batch.told, {}));
  CHECK(B::to_host(copy(batch.input, batch.c_noise, batch.told, {})) == before);
  copy.visit_state([](auto, B::Tensor& value) { B::set_zero(value); });
  CHECK(B::to_host(net(batch.input, batch.c_noise, batch.told, {})) == before);
}

TEST_CASE("SmallUNet trains, averages, samples and goes through a file") {
  using F = EigenBackend<float>;
  constexpr ImageShape image{1, 8, 8};
  ThreadExecutor pool(2);
  const EigenDevice<float> device{pool};
  DenoiserWrapper denoiser{
      SmallUNet<float>({.in_channels = 3, .out_channels = 1, .label_dim = 2, .model_channels = 8}, {1}, device),
      {.image = image}};
  const TrainStep<F> step(
      {.schedule = PatchSizeSchedule::stochastic({.image = image.size(), .full_image_probability = 1}), .batch = 8});
  Adam<F> adam({.learning_rate = 1e-2});
  EMA<F> ema(denoiser);
  TrainState state{.seed = 1};
  double first = 0, last = 0;
  for (int i = 0; i < 200; ++i) {
    const PatchPlan plan = step.plan(state);
    std::vector<float> pixels;
    std::vector<std::int64_t> labels;
    for (std::int64_t n = 0; n < plan.images; ++n) {
      labels.push_back(n % 2);
      for (std::int64_t pixel = 0; pixel < 64; ++pixel) {
        pixels.push_back((n % 2 == 0 ? pixel / 8 : pixel % 8) < 4 ? -0.5F : 0.5F);
      }
    }
    const auto report = step(denoiser, adam,
                             {.images = F::from_host(std::span<const float>(pixels), {plan.images, 1, 8, 8}, device),
                              .class_labels = one_hot_labels<F>(labels, 2, device)},
                             plan, state);
    ema.update(denoiser, state);
    (i < 40 ? first : last) += i < 40 || i >= 160 ? report.loss() / 40 : 0;
  }
  CHECK(first > 0.2);
  CHECK(last < first / 4);

  DenoiserWrapper averaged = ema.apply_to(denoiser.clone());
  const std::vector<std::int64_t> labels{0, 1};
  const auto sample = [&](const auto& model) {
    return ODESampler{{.num_steps = 8}}(
        model, {.seeds = {1, 2}, .conditioning = {.class_labels = one_hot_labels<F>(labels, 2, device)}});
  };
  const std::vector<double> images = EigenBackend<double>::to_host(sample(averaged));
  double error = 0;  // of the two images that there are, per pixel
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::size_t pixel = i % 64;
    const double expected = (i < 64 ? pixel / 8 : pixel % 8) < 4 ? -0.5 : 0.5;
    error += std::abs(images[i] - expected) / 128;
  }
  CHECK(error < 0.1);

  const TemporaryFolder folder;
  model_file::save(folder / "model.safetensors", averaged);
  const auto loaded = model_file::load<SmallUNet<float>>(folder / "model.safetensors", device);
  CHECK(EigenBackend<double>::to_host(sample(loaded)) == images);
}

template <class Change>
void make(Change&& change) {
  SmallUNetOptions changed = options({1, 2});
  change(changed);
  Net net(changed);
}

TEST_CASE("SmallUNet refuses settings that cannot work") {
  CHECK_ERROR(ConfigError, "SmallUNet: in_channels: expected at least 1, got 0",
              make([](auto& o) { o.in_channels = 0; }));
  CHECK_ERROR(ConfigError, "SmallUNet: out_channels: expected at least 1, got 0",
              make([](auto& o) { o.out_channels = 0; }));
  CHECK_ERROR(ConfigError, "SmallUNet: label_dim: expected at least 0, got -1",
              make([](auto& o) { o.label_dim = -1; }));
  CHECK_ERROR(ConfigError, "SmallUNet: model_channels: expected a multiple of 4, got 6",
              make([](auto& o) { o.model_channels = 6; }));
  CHECK_ERROR(ConfigError, "SmallUNet: num_blocks: expected at least 1, got 0",
              make([](auto& o) { o.num_blocks = 0; }));
  CHECK_ERROR(ConfigError, "SmallUNet: channel_mult: expected 1 to 31 levels, got 0",
              make([](auto& o) { o.channel_mult.clear(); }));
  CHECK_ERROR(ConfigError, "SmallUNet: channel_mult: expected factors of at least 1, got 0", make([](auto& o) {
                o.channel_mult = {1, 0};
              }));
}

constexpr std::int64_t vast = std::int64_t{1} << 61;

TEST_CASE("SmallUNet refuses widths whose products would overflow") {
  CHECK_ERROR(ConfigError, "SmallUNet: in_channels: expected at most 1048576, got 1048577",
              make([](auto& o) { o.in_channels = 1048577; }));
  CHECK_ERROR(ConfigError, "SmallUNet: out_channels: expected at most 1048576, got 2305843009213693952",
              make([](auto& o) { o.out_channels = vast; }));
  CHECK_ERROR(ConfigError, "SmallUNet: label_dim: expected at most 1048576, got 2305843009213693952",
              make([](auto& o) { o.label_dim = vast; }));
  CHECK_ERROR(ConfigError, "SmallUNet: model_channels: expected at most 1048576, got 2305843009213693952",
              make([](auto& o) { o.model_channels = vast; }));
  CHECK_ERROR(ConfigError, "SmallUNet: num_blocks: expected at most 1024, got 2305843009213693952",
              make([](auto& o) { o.num_blocks = vast; }));
  CHECK_ERROR(ConfigError,
              "SmallUNet: channel_mult: expected levels of at most 1048576 channels, got 2305843009213693952",
              make([](auto& o) {
                o.channel_mult = {1, vast};
              }));
}

TEST_CASE("SmallUNet refuses arguments that do not fit") {
  Net net(options({1, 2}));
  const std::vector<double> c_noise{1, 1};
  const auto run = [&](const Shape& shape, std::span<const double> noise, const Conditioning<B>& told,
                       Precision precision = Precision::float32) {
    net(B::zeros(shape, {}), noise, told, {.precision = precision});
  };
  const std::string expected = "SmallUNet: input: expected [N, 3, h, w] with h and w divisible by 2, got ";
  for (const Shape& shape :
       {Shape{2, 3, 4}, Shape{2, 4, 4, 4}, Shape{2, 3, 3, 4}, Shape{2, 3, 4, 5}, Shape{2, 3, 0, 4}}) {
    CHECK_ERROR(ShapeError, expected + to_string(shape), run(shape, c_noise, {}));
  }
  CHECK_ERROR(ShapeError, "SmallUNet: c_noise: expected 3 values, got 2", run({3, 3, 4, 4}, c_noise, {}));
  CHECK_ERROR(ShapeError, "SmallUNet: class_labels: expected [2, 3], got [2, 4]",
              run({2, 3, 4, 4}, c_noise, {.class_labels = B::zeros({2, 4}, {})}));
  CHECK_ERROR(ConfigError,
              "SmallUNet: precision: expected float32, which means the network's own scalar type, got bfloat16",
              run({2, 3, 4, 4}, c_noise, {}, Precision::bfloat16));
  const auto record = net.record(B::zeros({2, 3, 4, 4}, {}), c_noise, {}, {});
  CHECK_ERROR(ShapeError, "SmallUNet: cotangent: expected [2, 2, 4, 4], got [2, 3, 4, 4]",
              net.backward(record, B::zeros({2, 3, 4, 4}, {})));
}

}  // namespace
}  // namespace patchdiff
