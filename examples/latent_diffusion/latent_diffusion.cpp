// SPDX-License-Identifier: Apache-2.0
// Trains a small autoencoder on Fashion-MNIST, then patch diffusion on its latents with the published two sizes.

#include <cstdint>
#include <filesystem>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/encode_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/data/normalized_dataset.hpp>
#include <patchdiff/data/npy_layout.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/data/relabelled_dataset.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/nn/torch/torch_codec.hpp>
#include <patchdiff/torch.hpp>

#include "autoencoder.hpp"
#include "cli/as_stored.hpp"
#include "shared/fashion_mnist.hpp"
#include "shared/run_program.hpp"
#include "shared/training_lines.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings {
  fs::path data = fashion_mnist_folder, out = "latent-out";
  std::int64_t autoencoder_images = 60'000;
  std::uint64_t images = 100'000;
};

/// Patch diffusion on latents: nothing but the size of the images and the schedule is other than on pixels.
template <class Latents>
pd::DenoiserWrapper<pd::SongUNet> train_latents(const Latents& latents, std::uint64_t images) {
  const pd::ImageSize grid = latents.shape().size();
  pd::SongUNet network({.image = grid,
                        .in_channels = 4 + 2,
                        .out_channels = 4,
                        .label_dim = latents.class_count(),
                        .model_channels = 64,
                        .channel_mult = {1, 2},
                        .num_blocks = 1,
                        .attn_resolutions = {4},
                        .dropout = 0});
  pd::DenoiserWrapper denoiser{std::move(network), {.image = latents.shape(), .formulation = pd::EDM{}}};
  pd::PatchLoader<B, Latents> loader(latents, {}, {.seed = 1});
  pd::Adam<B> optimizer{{.beta2 = 0.99}};
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = 1};
  const auto learning_rate = [images](std::uint64_t seen) {
    return pd::cosine_learning_rate(2e-3, static_cast<double>(seen) / static_cast<double>(images), 0.05);
  };
  pd::Trainer trainer(denoiser, optimizer, loader, state,
                      {.step = {.schedule = pd::PatchSizeSchedule::stochastic_latents(
                                    {.image = grid, .full_image_probability = 0.5, .size_divisor = 2}),
                                .batch = 64,
                                .label_dropout = 0.1},
                       .learning_rate = learning_rate});
  TrainingLines lines;
  trainer.run(images, [&](const pd::StepReport<B>& report) {
    ema.update(denoiser, state);
    lines.add(state, report.loss(), state.images >= images);
    return pd::Flow::proceed;
  });
  return ema.apply_to(std::move(denoiser));
}

void write(const fs::path& path, const at::Tensor& images) {
  const pd::ImageGrid grid({.columns = 10, .scale = 3});
  pd::write_png(path, grid(B::to_host(images), B::shape(images)));
}

void run(const Settings& settings) {
  at::set_num_threads(2);
  fs::create_directories(settings.out);
  const pd::ArrayDataset images = fashion_mnist(settings.data, "train");
  const pd::TorchCodec codec = train_autoencoder(images, settings.autoencoder_images);
  pd::Loader<B, pd::ArrayDataset> loader(images, {}, {.seed = 3});
  const at::Tensor shown = loader.take({.images = 20}).images;
  write(settings.out / "reconstructions.png", at::cat({shown, codec.decode(codec.encode(shown))}));

  // Latents are written once; of their file only patches are read. Their scale and shift bring them to EDM's deviation.
  const fs::path file = settings.out / "latents.npy";
  const pd::Normalization scale = pd::Normalization::of(pd::encode_dataset(codec, images, file), 0.5);
  const pd::MappedArray stored(file, pd::read_npy_layout(file));
  const pd::NormalizedDataset scaled(stored, scale);
  const pd::RelabelledDataset latents(scaled, images);
  const auto denoiser = train_latents(latents, settings.images);

  const at::Tensor drawn = pd::ODESampler{{.num_steps = 18}}(
      pd::GuidedDenoiser(denoiser, 1.5),
      {.seeds = pd::seed_range(1, 50), .conditioning = {.class_labels = at::eye(10).repeat({5, 1})}});
  const at::Tensor unscaled = B::from_host(as_stored<B>(drawn, scale), B::shape(drawn), {});
  write(settings.out / "samples.png", codec.decode(unscaled));
  fmt::print("wrote latents.npy, reconstructions.png and samples.png to {}\n", settings.out.string());
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains an autoencoder on Fashion-MNIST and patch diffusion on its latents.", "latent_diffusion"};
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's files");
  app.add_option("--out", settings.out, "folder for latents and pictures");
  app.add_option("--autoencoder-images", settings.autoencoder_images, "images to train the autoencoder on");
  app.add_option("--images", settings.images, "latents to train diffusion on");
  return run_program(app, argc, argv, [&] { run(settings); });
}
