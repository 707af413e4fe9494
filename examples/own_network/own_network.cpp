// SPDX-License-Identifier: Apache-2.0
// Networks by someone who never heard of patchdiff, trained on patches of Fashion-MNIST: a module, a TorchScript file,
// a function.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <CLI/CLI.hpp>

#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/png.hpp>
#include <patchdiff/io/read_settings.hpp>
#include <patchdiff/nn/torch/function_network.hpp>
#include <patchdiff/nn/torch/module_network.hpp>
#include <patchdiff/nn/torch/script_network.hpp>
#include <patchdiff/torch.hpp>

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

/// Writes such a file, as a colleague's Python would by `torch.jit.script(model).save(path)`.
void write_script(const fs::path& file) {
  torch::jit::Module module("Colleagues");
  const auto add = [&](const std::string& name, at::IntArrayRef sizes) {
    module.register_parameter(name, (0.1 * at::randn(sizes)).requires_grad_(), false);
  };
  add("enter", {32, 3, 3, 3});
  add("middle", {32, 32, 3, 3});
  add("told", {32, 11});
  add("leave", {1, 32, 3, 3});
  module.define(R"(
    def forward(self, x, sigma_label, one_hot):
      told = torch.linear(torch.cat([sigma_label.unsqueeze(1), one_hot], 1), self.told)
      y = torch.silu(torch.conv2d(x, self.enter, None, [1, 1], [1, 1]) + told.unsqueeze(2).unsqueeze(3))
      y = y + torch.silu(torch.conv2d(y, self.middle, None, [1, 1], [1, 1]))
      return torch.conv2d(y, self.leave, None, [1, 1], [1, 1])
  )");
  module.save(file.string());
  std::FILE* text = std::fopen((file.string() + ".json").c_str(), "w");
  fmt::print(text, R"({{"input_channels": 3, "output_channels": 1, "label_dim": 10,)"
                   R"( "noise": "sigma_label", "class_labels": "one_hot"}})");
  std::fclose(text);
}

/// Patch training is the same for any network.
template <class Network>
void train(Network network, std::uint64_t images, const fs::path& data, const fs::path& picture) {
  const pd::ArrayDataset source = pd::read_idx_dataset({.images = data / "train-images-idx3-ubyte.gz",
                                                        .labels = data / "train-labels-idx1-ubyte.gz",
                                                        .pad_to = {32, 32}});
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
  fs::path data = "/usr/share/datasets/fashion-mnist", out = ".";
  std::uint64_t images = 20'000;
  CLI::App app{"Trains a network of someone else's on patches of Fashion-MNIST."};
  app.add_option("kind", kind, "module, script or function")->check(CLI::IsMember({"module", "script", "function"}));
  app.add_option("--data", data, "folder with Fashion-MNIST's files")->capture_default_str();
  app.add_option("--out", out, "folder for KIND.png, which exists")->capture_default_str();
  app.add_option("--images", images, "images to train on")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    at::set_num_threads(2);
    at::manual_seed(1);  // initial weights
    const fs::path picture = out / (kind + ".png"), script = out / "network.pt";
    if (kind == "module") train(from_module(), images, data, picture);
    if (kind == "function") train(from_function(), images, data, picture);
    if (kind == "script") {
      write_script(script);
      train(from_script(script), images, data, picture);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "own_network: {}\n", error.what());
    return 1;
  }
}
