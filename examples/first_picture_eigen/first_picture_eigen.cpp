// SPDX-License-Identifier: Apache-2.0
// The whole way in a page: images, training on patches, a picture of samples. Without LibTorch and without files to
// read; docs/tutorial.md goes through it.
//
//   first_picture_eigen [IMAGES [PICTURE]]

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/eigen.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>

namespace {

namespace pd = patchdiff;
using B = pd::EigenBackend<float>;

constexpr std::int64_t side = 16;

/// Discs of random place and size, [N, 1, 16, 16] in [-1, 1]: stands for a host's images.
B::Tensor my_images(const pd::PatchPlan& plan, B::Device device) {
  std::vector<float> pixels;
  for (std::int64_t image = 0; image < plan.images; ++image) {
    const pd::RandomStream draw = plan.stream(pd::Purpose::data_order, static_cast<std::uint64_t>(image));
    const double row = 4 + 8 * draw.uniform(0), column = 4 + 8 * draw.uniform(1), radius = 2 + 3 * draw.uniform(2);
    for (std::int64_t pixel = 0; pixel < side * side; ++pixel) {
      const double down = static_cast<double>(pixel / side) - row, right = static_cast<double>(pixel % side) - column;
      pixels.push_back(static_cast<float>(std::clamp(radius - std::hypot(down, right), -1.0, 1.0)));
    }
  }
  return B::from_host(pixels, {plan.images, 1, side, side}, device);
}

void run(std::uint64_t total, const std::string& picture) {
  pd::ThreadExecutor threads(2);
  const B::Device device{threads};

  pd::SmallUNet<float> network({.in_channels = 1 + 2, .out_channels = 1, .model_channels = 16, .channel_mult = {1, 2}},
                               {1}, device);
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {1, side, side}}};

  const pd::PatchSizes sizes{.image = {side, side}, .sizes = {{8, 8}, {side, side}}};
  const pd::TrainStep<B> step{{.schedule = pd::PatchSizeSchedule::stochastic_of(sizes), .batch = 16}};
  pd::Adam<B> optimizer{{.learning_rate = 2e-3}};
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = 1};

  double loss = 0, steps = 0;
  while (state.images < total) {
    const pd::PatchPlan plan = step.plan(state);  // how large the patches are, how many images to take
    const auto report = step(denoiser, optimizer, {.images = my_images(plan, device)}, plan, state);
    ema.update(denoiser, state);
    loss += report.loss(), ++steps;
    if (state.step % 100 == 0 || state.images >= total) {
      std::printf("%6llu images, loss %.2f\n", static_cast<unsigned long long>(state.images), loss / steps);
      loss = steps = 0;
    }
  }

  auto averaged = ema.apply_to(denoiser.clone());
  pd::model_file::save("discs.safetensors", averaged);

  const auto samples = pd::ODESampler{{.num_steps = 18}}(averaged, {.seeds = pd::seed_range(7, 32)});
  const pd::ImageGrid grid({.columns = 8, .scale = 4});
  pd::write_png(picture, grid(B::Wide::to_host(samples), samples.shape()));
  std::printf("wrote %s and discs.safetensors\n", picture.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::stoull(argv[1]) : 40000, argc > 2 ? argv[2] : "discs.png");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "first_picture_eigen: %s\n", error.what());
    return 1;
  }
}
