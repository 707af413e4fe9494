// SPDX-License-Identifier: Apache-2.0
// The convolution on Eigen beside Eigen's own product of matrices of the same sizes, call by call in turns on one
// thread; and whole training steps of SmallUNet with their rate of multiplications. Prints medians and, with --json,
// writes every figure.

#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <Eigen/Core>

#include <patchdiff/eigen.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

struct Settings {
  std::vector<std::int64_t> channels{32, 64};
  std::vector<std::int64_t> sides{16, 8};
  std::int64_t model_channels = 32;
  std::vector<std::int64_t> channel_mult{1, 2, 2};
  std::int64_t batch = 32;
  std::int64_t calls = 200;
  std::int64_t steps = 10;
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::string json;
};

/// One image through one 3x3 convolution: y = W x is one product of matrices, its gradients are two.
Json measure_convolution(const Settings& settings, std::int64_t channels, std::int64_t side) {
  pd::layers::WeightList<float> weights({});
  const pd::layers::Convolution<float> convolution(weights, "convolution", channels, channels, 3, {1});
  pd::layers::FeatureMap<float> x(channels, {side, side}), y = x, slope = x;
  x.values.setRandom();
  slope.values.setRandom();
  pd::layers::Column<float> gradients = pd::layers::Column<float>::Zero(weights.size());
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix kernel = Matrix::Random(channels, 9 * channels), inputs = Matrix::Random(9 * channels, side * side);
  Matrix product(channels, side * side);

  std::vector<double> forward, backward, raw;
  for (std::int64_t call = -3; call < settings.calls; ++call) {
    const double times[] = {seconds([&] { product.noalias() = kernel * inputs; }), seconds([&] { y = convolution(x); }),
                            seconds([&] { slope = convolution.backward(x, slope, gradients); })};
    slope.values /= slope.values.abs().maxCoeff();
    if (call < 0) continue;  // warming up
    raw.push_back(times[0]);
    forward.push_back(times[1]);
    backward.push_back(times[2]);
  }
  const double operations = 2.0 * 9.0 * static_cast<double>(channels * channels * side * side);
  const double rate = operations / spread_of(raw).median;
  const double forward_share = spread_of(raw).median / spread_of(forward).median;
  const double backward_share = 2 * spread_of(raw).median / spread_of(backward).median;
  fmt::print("{:3} channels, {:2}x{:<2}: product {:5.1f} GFLOP/s, forward {:3.0f} % of that, backward {:3.0f} %\n",
             channels, side, side, 1e-9 * rate, 100 * forward_share, 100 * backward_share);
  return {{"channels", channels},
          {"side", side},
          {"product", to_json(spread_of(raw))},
          {"forward", to_json(spread_of(forward))},
          {"backward", to_json(spread_of(backward))},
          {"product_gflops", 1e-9 * rate},
          {"forward_share_of_product", forward_share},
          {"backward_share_of_product", backward_share}};
}

/// Whole steps: plan, crop, noise, network, loss, backward, Adam, average.
Json measure_steps(const Settings& settings, std::int64_t side) {
  pd::ThreadExecutor pool(settings.threads);
  const B::Device device{pool};
  pd::DenoiserWrapper denoiser{pd::SmallUNet<float>({.in_channels = 1 + 2,
                                                     .out_channels = 1,
                                                     .model_channels = settings.model_channels,
                                                     .channel_mult = settings.channel_mult},
                                                    {1}, device),
                               {.image = {1, side, side}}};
  const pd::TrainStep<B> step(
      {.schedule = pd::PatchSizeSchedule::stochastic_of({.image = {side, side}, .sizes = {{side, side}}}),
       .batch = settings.batch});
  pd::Adam<B> adam({.learning_rate = 1e-4});
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = 1};
  const pd::ImageBatch<B> batch{.images = B::zeros({settings.batch, 1, side, side}, device)};
  std::vector<double> times;
  for (std::int64_t index = -2; index < settings.steps; ++index) {
    const double time = seconds([&] {
      const pd::PatchPlan plan = step.plan(state);
      step(denoiser, adam, batch, plan, state);
      ema.update(denoiser, state);
    });
    if (index >= 0) times.push_back(time);
  }
  const double images = static_cast<double>(settings.batch) / spread_of(times).median;
  fmt::print("training {:2}x{:<2}: {:8.2f} ms a step, {:6.0f} images/s on {} threads\n", side, side,
             1e3 * spread_of(times).median, images, settings.threads);
  return {{"side", side}, {"step", to_json(spread_of(times))}, {"images_per_second", images}};
}

void run(const Settings& settings) {
  Json convolutions = Json::array(), steps = Json::array();
  for (const std::int64_t channels : settings.channels) {
    for (const std::int64_t side : settings.sides) {
      convolutions.push_back(measure_convolution(settings, channels, side));
    }
  }
  for (const std::int64_t side : settings.sides) steps.push_back(measure_steps(settings, side));
  const Json figures{{"benchmark", "eigen_conv"},
                     {"eigen", fmt::format("{}.{}.{}", EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION)},
                     {"simd", Eigen::SimdInstructionSetsInUse()},
                     {"threads", settings.threads},
                     {"model_channels", settings.model_channels},
                     {"channel_mult", settings.channel_mult},
                     {"batch", settings.batch},
                     {"calls", settings.calls},
                     {"steps", settings.steps},
                     {"convolutions", convolutions},
                     {"training", steps}};
  write_figures(settings.json, "eigen_conv_bench", figures);
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times the convolution on Eigen beside Eigen's product of matrices in the same run.",
               "eigen_conv_bench"};
  app.add_option("--channels", settings.channels, "channels of the convolutions")->delimiter(',');
  app.add_option("--side", settings.sides, "sides of the images")->delimiter(',');
  app.add_option("--model-channels", settings.model_channels, "of the network");
  app.add_option("--channel-mult", settings.channel_mult, "of the network")->delimiter(',');
  app.add_option("--batch", settings.batch, "images a step");
  app.add_option("--calls", settings.calls, "timed calls of each kind")->check(CLI::PositiveNumber);
  app.add_option("--steps", settings.steps, "timed training steps")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
