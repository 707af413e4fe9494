// SPDX-License-Identifier: Apache-2.0
// Networks by someone who never heard of patchdiff, trained on patches of Fashion-MNIST: a module, a TorchScript file,
// a function.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/loader.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/io/read_settings.hpp>
#include <patchdiff/nn/torch/function_network.hpp>
#include <patchdiff/nn/torch/module_network.hpp>
#include <patchdiff/nn/torch/script_network.hpp>
#include <patchdiff/torch.hpp>

#include "colleagues_script.hpp"
#include "shared/fashion_mnist.hpp"
#include "shared/run_program.hpp"
#include "strangers_unet.hpp"

namespace {

namespace fs = std::filesystem;
namespace pd = patchdiff;
using B = pd::TorchBackend;

constexpr pd::NetworkShape shape{.input_channels = 1 + 2, .output_channels = 1, .label_dim = 10, .size_divisor = 2};

/// A module: how it is called is all that has to be said.
pd::ModuleNetwork<StrangersUNetImpl> from_module() {
  const StrangersUNet unet(shape.input_channels, shape.output_channels, shape.label_dim);
  return {unet.ptr(), shape, [](StrangersUNetImpl& net, const pd::NetworkInput& in) {
            return net.forward(in.images, in.noise, in.class_labels);
          }};
}

/// A TorchScript file and the text beside it that names its arguments.
pd::ScriptNetwork from_script(const fs::path& file) {
  return {file, pd::read_settings<pd::ScriptNetworkOptions>(file.string() + ".json")};
}

/// A function of weights and input.
pd::FunctionNetwork from_function() {
  const auto weight = [](at::IntArrayRef sizes) { return (0.1 * at::randn(sizes)).requires_grad_(); };
  return {{{"enter", weight({32, 3, 3, 3})}, {"told", weight({32, 11})}, {"leave", weight({1, 32, 3, 3})}},
          shape,
          [](const std::vector<at::Tensor>& w, const pd::NetworkInput& in) {
            const at::Tensor told = at::linear(at::cat({in.noise.unsqueeze(1), in.class_labels}, 1), w[1]);
            const at::Tensor hidden = at::conv2d(in.images, w[0], {}, 1, 1) + told.unsqueeze(2).unsqueeze(3);
            return at::conv2d(at::silu(hidden), w[2], {}, 1, 1);
          }};
}

/// Patch training is the same for any network.
template <class Network>
void train(Network network, std::uint64_t images, const fs::path& data, const fs::path& picture) {
  const pd::ArrayDataset source = fashion_mnist(data, "train");
  pd::Loader<B, pd::ArrayDataset> loader(source, {});
  pd::DenoiserWrapper denoiser{std::move(network), {.image = {1, 32, 32}}};
  pd::Adam<B> optimizer{{.learning_rate = 1e-3}};
  pd::EMA<B> ema(denoiser);
  pd::TrainState state{.seed = 1};
  pd::Trainer trainer(
      denoiser, optimizer, loader, state,
      {.step = {.schedule = pd::PatchSizeSchedule::progressive({.image = {32, 32}}, images), .batch = 32}});
  double first = 0, last = 0;
  trainer.run(images, [&](const pd::StepReport<B>& report) {
    ema.update(denoiser, state);
    last = report.loss();
    if (state.step == 1) first = last;
    return pd::Flow::proceed;
  });
  const auto averaged = ema.apply_to(denoiser.clone());
  const at::Tensor samples = pd::ODESampler{{.num_steps = 18}}(
      averaged, {.seeds = pd::seed_range(1, 10), .conditioning = {.class_labels = at::eye(10)}});
  pd::write_png(picture, pd::ImageGrid({.columns = 5, .scale = 3})(B::to_host(samples), B::shape(samples)));
  fmt::print("{} images, loss {:.3f} to {:.3f}, samples in {}\n", state.images, first, last, picture.string());
}

}  // namespace

int main(int argc, char** argv) {
  std::string kind = "module";
  fs::path data = fashion_mnist_folder, out = ".";
  std::uint64_t images = 20'000;
  CLI::App app{"Trains a network of someone else's on patches of Fashion-MNIST.", "own_network"};
  app.add_option("kind", kind, "module, script or function")->check(CLI::IsMember({"module", "script", "function"}));
  app.add_option("--data", data, "folder with Fashion-MNIST's files");
  app.add_option("--out", out, "folder for KIND.png, which exists");
  app.add_option("--images", images, "images to train on");
  return run_program(app, argc, argv, [&] {
    at::set_num_threads(2);
    at::manual_seed(1);  // initial weights
    const fs::path picture = out / (kind + ".png"), script = out / "network.pt";
    if (kind == "module") train(from_module(), images, data, picture);
    if (kind == "function") train(from_function(), images, data, picture);
    if (kind == "script") {
      write_colleagues_script(script);
      train(from_script(script), images, data, picture);
    }
  });
}
