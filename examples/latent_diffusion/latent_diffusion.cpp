// SPDX-License-Identifier: Apache-2.0
// Trains a small autoencoder on Fashion-MNIST, then patch diffusion on its latents with the published two sizes.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/optim/adam.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/encode_dataset.hpp>
#include <patchdiff/data/idx_dataset.hpp>
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
#include <patchdiff/training/learning_rate.hpp>

#include "autoencoder.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

struct Settings {
  fs::path data = "/usr/share/datasets/fashion-mnist";  // where Debian's dataset-fashion-mnist puts it
  fs::path out = "latent-out";
  std::int64_t autoencoder_images = 60'000;
  std::uint64_t images = 100'000;
};

/// Trains an autoencoder by the mean of squared and absolute errors.
pd::TorchCodec train_codec(const pd::ArrayDataset& source, std::int64_t images) {
  at::manual_seed(1);
  Autoencoder net;
  torch::optim::Adam adam(net->parameters(), torch::optim::AdamOptions(2e-3));
  pd::Loader<B, pd::ArrayDataset> loader(source, {}, {.seed = 2});
  constexpr std::int64_t batch = 64;
  for (std::int64_t first = 0; first < images; first += batch) {
    const at::Tensor x = loader.take({.images = batch, .first_image = static_cast<std::uint64_t>(first)}).images;
    const at::Tensor difference = net->decoder->forward(net->encoder->forward(x)) - x;
    adam.zero_grad();
    (difference.square().mean() + difference.abs().mean()).backward();
    adam.step();
    if (first % (100 * batch) == 0) {
      fmt::print("autoencoder  images {:6}  mean squared error {:.4f}\n", first,
                 difference.square().mean().item<double>());
    }
  }
  return {[encoder = net->encoder](const at::Tensor& x) mutable { return encoder->forward(x); },
          [decoder = net->decoder](const at::Tensor& z) mutable { return decoder->forward(z); },
          {.image_channels = 1, .latent_channels = 4, .factor = 4}};
}

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
  pd::Trainer trainer(denoiser, optimizer, loader, state,
                      {.step = {.schedule = pd::PatchSizeSchedule::stochastic_latents(
                                    {.image = grid, .full_image_probability = 0.5, .size_divisor = 2}),
                                .batch = 64,
                                .label_dropout = 0.1},
                       .learning_rate = [&](std::uint64_t seen) {
                         return pd::cosine_learning_rate(2e-3, static_cast<double>(seen) / static_cast<double>(images),
                                                         0.05);
                       }});
  double recent = 1;
  trainer.run(images, [&](const pd::StepReport<B>& report) {
    ema.update(denoiser, state);
    recent = 0.98 * recent + 0.02 * report.loss();
    if (state.step % 100 == 0) fmt::print("latents      images {:6}  loss {:.4f}\n", state.images, recent);
    return pd::Flow::proceed;
  });
  return ema.apply_to(std::move(denoiser));
}

void write(const fs::path& path, const at::Tensor& images) {
  const pd::ImageGrid grid({.columns = 10, .scale = 3});
  pd::write_png(path, grid(B::to_host(images), B::shape(images)));
}

void run(const Settings& settings) {
  fs::create_directories(settings.out);
  const pd::ArrayDataset images = pd::read_idx_dataset({.images = settings.data / "train-images-idx3-ubyte.gz",
                                                        .labels = settings.data / "train-labels-idx1-ubyte.gz",
                                                        .pad_to = {32, 32}});
  const pd::TorchCodec codec = train_codec(images, settings.autoencoder_images);
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

  std::vector<std::int64_t> labels;
  for (std::int64_t sample = 0; sample < 50; ++sample) labels.push_back(sample % 10);
  const pd::GuidedDenoiser guided(denoiser, 1.5);
  const at::Tensor drawn = pd::ODESampler{{.num_steps = 18}}(
      guided, {.seeds = pd::seed_range(1, labels.size()),
               .conditioning = {.class_labels = pd::one_hot_labels<B>(labels, 10, {})}});
  const std::vector<double> values = B::to_host(drawn);
  std::vector<float> unscaled(values.begin(), values.end());
  scale.undo(unscaled, 8 * 8);
  const at::Tensor decoded = codec.decode(B::from_host(std::span<const float>(unscaled), B::shape(drawn), {}));
  write(settings.out / "samples.png", decoded);
  fmt::print("wrote latents.npy, reconstructions.png and samples.png to {}\n", settings.out.string());
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Trains an autoencoder on Fashion-MNIST and patch diffusion on its latents."};
  app.add_option("--data", settings.data, "folder with Fashion-MNIST's files")->capture_default_str();
  app.add_option("--out", settings.out, "folder for latents and pictures")->capture_default_str();
  app.add_option("--autoencoder-images", settings.autoencoder_images, "images to train the autoencoder on")
      ->capture_default_str();
  app.add_option("--images", settings.images, "latents to train diffusion on")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    at::set_num_threads(2);
    run(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "latent_diffusion: {}\n", error.what());
    return 1;
  }
}
