// SPDX-License-Identifier: Apache-2.0
// Fills in and enlarges Fashion-MNIST's test images with the quick start's model, which was trained for neither.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/torch.hpp>

#include "read_images.hpp"
#include "shared/fashion_mnist.hpp"
#include "shared/run_program.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings {
  fs::path model = "quickstart-out/model.safetensors", data = fashion_mnist_folder, out = "inverse_problems.png";
  std::int64_t images = 10;
  std::int64_t steps = 32;
  int threads = 2;
  std::uint64_t seed = 1;
};

/// Twice as high and wide, each pixel four times.
at::Tensor enlarged(const at::Tensor& images) { return images.repeat_interleave(2, 2).repeat_interleave(2, 3); }

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  auto denoiser = pd::model_file::load<pd::SongUNet>(settings.model);
  const pd::ImageShape shape = denoiser.image();
  const at::Tensor images =
      read_images(fashion_mnist(settings.data, "t10k"), indices_of(std::identity{}, 0, settings.images));
  const pd::ODESampler sampler{{.num_steps = settings.steps}};
  const pd::SampleRequest<B> request{
      .seeds = pd::seed_range(settings.seed, static_cast<std::size_t>(settings.images)),
      .conditioning = {.class_labels = at::zeros({settings.images, denoiser.label_dim()})}};  // nobody knows the class
  const auto sample = [&](const auto& solving) { return sampler(solving, request).to(at::kFloat); };

  // A square of half the image's sides is hidden.
  at::Tensor known = at::ones_like(images);
  known.slice(2, shape.height / 4, 3 * shape.height / 4).slice(3, shape.width / 4, 3 * shape.width / 4).fill_(0);
  const auto masked = [&](const at::Tensor& image) { return image * known; };
  const at::Tensor replaced = sample(pd::InpaintingDenoiser(denoiser, images, known));
  const at::Tensor inpainted =
      sample(pd::PosteriorDenoiser(denoiser, pd::autograd_misfit(masked, masked(images)), {.deviation = 0.01}));

  // Each pixel of the measurement is the mean of four.
  const auto halved = [](const at::Tensor& image) { return at::avg_pool2d(image, 2); };
  const at::Tensor small = halved(images);
  const at::Tensor sharpened =
      sample(pd::PosteriorDenoiser(denoiser, pd::autograd_misfit(halved, small), {.deviation = 0.01, .gain = 0.25}));

  const auto error = [&](const at::Tensor& found, const at::Tensor& where) {
    return std::sqrt(((found - images).square() * where).sum().item<double>() / where.sum().item<double>());
  };
  const at::Tensor hidden = 1 - known, everywhere = at::ones_like(images);
  fmt::print("root mean square error, black to white being 2\n");
  fmt::print("hidden pixels, replacement        {:.3f}\n", error(replaced, hidden));
  fmt::print("hidden pixels, posterior          {:.3f}\n", error(inpainted, hidden));
  fmt::print("known pixels, posterior           {:.3f}\n", error(inpainted, known));
  fmt::print("2x resolution, each pixel 4 times {:.3f}\n", error(enlarged(small), everywhere));
  fmt::print("2x resolution, posterior          {:.3f}\n", error(sharpened, everywhere));
  fmt::print("means of 2x2 pixels, posterior    {:.3f}\n",
             std::sqrt((halved(sharpened) - small).square().mean().item<double>()));

  const std::vector<at::Tensor> columns{images, masked(images), replaced, inpainted, enlarged(small), sharpened};
  const at::Tensor rows = at::stack(columns, 1).flatten(0, 1);
  const pd::ImageGrid grid({.columns = static_cast<std::int64_t>(columns.size()), .scale = 2});
  pd::write_png(settings.out, grid(B::to_host(rows), B::shape(rows)));
  fmt::print("wrote {}: image, hidden, replacement, posterior, low resolution, posterior\n", settings.out.string());
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Fills in a hidden square of test images, and doubles the resolution of others, by posterior sampling.",
               "inverse_problems"};
  app.add_option("--model", settings.model, "what the quick start trained");
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's four IDX files");
  app.add_option("--out", settings.out, "picture to write");
  app.add_option("--images", settings.images, "test images to take")->check(CLI::Range(1, 1000));
  app.add_option("--steps", settings.steps, "steps of the sampler")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  app.add_option("--seed", settings.seed, "seed of the samples");
  return run_program(app, argc, argv, [&] { run(settings); });
}
