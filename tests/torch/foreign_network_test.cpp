// SPDX-License-Identifier: Apache-2.0
#include "support/torch_catch.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/cloneable.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/io/read_settings.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/function_network.hpp>
#include <patchdiff/nn/torch/module_network.hpp>
#include <patchdiff/nn/torch/script_network.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/training/adam.hpp>
#include <patchdiff/training/ema.hpp>
#include <patchdiff/training/train_step.hpp>

#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

using B = TorchBackend;

/// One convolution, shifted by the noise level and the label: a network by someone who knows nothing of patches.
struct NetImpl : torch::nn::Cloneable<NetImpl> {
  torch::nn::Conv2d conv{nullptr};
  torch::nn::Linear label{nullptr};
  at::Tensor scale;
  bool was_training = false;

  NetImpl() { reset(); }
  void reset() override {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 1, 3).padding(1)));
    label = register_module("label", torch::nn::Linear(2, 1));
    scale = register_buffer("scale", at::ones({1}));
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const at::Tensor& labels) {
    was_training = is_training();
    return conv(x) * scale + noise.view({-1, 1, 1, 1}) * 0.1 + label(labels).view({-1, 1, 1, 1});
  }
};

/// The same in TorchScript.
void write_script(const std::filesystem::path& path, const NetImpl& net, const std::string& body = "") {
  torch::jit::Module module("Net");
  module.register_parameter("weight", net.conv->weight.detach().clone().requires_grad_(), false);
  module.register_parameter("bias", net.conv->bias.detach().clone().requires_grad_(), false);
  module.register_parameter("label_weight", net.label->weight.detach().clone().requires_grad_(), false);
  module.register_parameter("label_bias", net.label->bias.detach().clone().requires_grad_(), false);
  module.register_buffer("scale", net.scale.clone());
  module.register_attribute("training", c10::BoolType::get(), true);
  module.define(!body.empty() ? body : R"(
    def forward(self, x, level, labels):
      y = torch.conv2d(x, self.weight, self.bias, [1, 1], [1, 1]) * self.scale + level.view(-1, 1, 1, 1) * 0.1
      return y + torch.linear(labels, self.label_weight, self.label_bias).view(-1, 1, 1, 1)
  )");
  module.save(path.string());
}

constexpr NetworkShape shape{.input_channels = 3, .output_channels = 1, .label_dim = 2};

using Module = ModuleNetwork<NetImpl>;

Module module_network(std::shared_ptr<NetImpl> net) {
  return {std::move(net), shape,
          [](NetImpl& own, const NetworkInput& in) { return own.forward(in.images, in.noise, in.class_labels); }};
}

FunctionNetwork function_network(const NetImpl& net) {
  return {{{"weight", net.conv->weight},
           {"bias", net.conv->bias},
           {"label_weight", net.label->weight},
           {"label_bias", net.label->bias},
           {"scale", net.scale}},
          shape,
          [](const std::vector<at::Tensor>& w, const NetworkInput& in) {
            return at::conv2d(in.images, w[0], w[1], 1, 1) * w[4] + in.noise.view({-1, 1, 1, 1}) * 0.1 +
                   at::linear(in.class_labels, w[2], w[3]).view({-1, 1, 1, 1});
          }};
}

static_assert(TrainableNetwork<Module> && TrainableNetwork<ScriptNetwork> && TrainableNetwork<FunctionNetwork>);

const ScriptNetworkOptions script_options{.shape = shape, .noise = "level", .class_labels = "labels"};

/// The losses of some steps of patch training, and the mean of a sample of the average at the end.
template <class Net>
std::vector<double> trained(Net network) {
  DenoiserWrapper denoiser(std::move(network), {.image = {1, 8, 8}, .formulation = EDM{}});
  const TrainStep<B> step({.schedule = PatchSizeSchedule::stochastic({.image = {8, 8}}), .batch = 4});
  Adam<B> optimizer({.learning_rate = 1e-2});
  EMA<B> ema(denoiser, {.halflife_images = 20});
  TrainState state{.seed = 3};
  std::vector<double> results;
  const at::Tensor rows = at::linspace(-1, 1, 8).view({1, 1, 8, 1}), labels = at::eye(2);
  while (state.step < 20) {
    const PatchPlan plan = step.plan(state);
    const auto count = plan.images;
    const at::Tensor classes = labels.repeat({(count + 1) / 2, 1}).slice(0, 0, count);
    results.push_back(
        step(denoiser, optimizer, {.images = rows.repeat({count, 1, 1, 8}), .class_labels = classes}, plan, state)
            .loss());
    ema.update(denoiser, state);
  }
  const auto averaged = ema.apply_to(denoiser.clone());
  const at::Tensor images =
      ODESampler({.num_steps = 3})(averaged, {.seeds = seed_range(1, 2), .conditioning = {.class_labels = labels}});
  results.push_back(images.mean().item<double>());
  // A copy learns by itself.
  auto copy = denoiser.clone();
  Adam<B> own({.learning_rate = 1e-2});
  const PatchPlan plan = step.plan(state);
  const auto classes = labels.repeat({(plan.images + 1) / 2, 1}).slice(0, 0, plan.images);
  const ImageBatch<B> batch{.images = rows.repeat({plan.images, 1, 1, 8}), .class_labels = classes};
  const double before = step(copy, own, batch, plan, state).loss();
  CHECK(before != step(copy, own, batch, plan, state).loss());
  CHECK(before == step(denoiser, optimizer, batch, plan, state).loss());
  return results;
}

TEST_CASE("A module, a TorchScript file and a function of the same layers train as one network") {
  const TemporaryFolder folder;
  torch::manual_seed(1);
  const auto net = std::make_shared<NetImpl>();
  write_script(folder / "net.pt", *net);
  const std::vector<double> of_function = trained(function_network(*net));
  CHECK(of_function.front() > of_function[19]);
  CHECK(trained(ScriptNetwork(folder / "net.pt", script_options)) == of_function);
  CHECK(trained(module_network(net)) == of_function);
}

TEST_CASE("A foreign network's mode is the call's, and what is frozen stays") {
  const auto net = std::make_shared<NetImpl>();
  net->label->weight.set_requires_grad(false);
  Module network = module_network(net);
  const at::Tensor x = at::zeros({1, 3, 4, 4});
  const std::vector<double> noise{0.5};
  network(x, noise, {}, {});
  CHECK_FALSE(net->was_training);
  network.record(x, noise, {}, {.training = true});
  CHECK(net->was_training);

  const auto weights = [](auto& any) {
    std::vector<std::string> names;
    any.visit_parameters([&](auto name, auto&, auto&) { names.emplace_back(name); });
    return names;
  };
  const std::vector<std::string> expected{"conv.weight", "conv.bias", "label.bias"};
  CHECK(weights(network) == expected);
  Module copy = network.clone();
  CHECK(weights(copy) == expected);
}

TEST_CASE("A TorchScript network's mode is the call's") {
  const TemporaryFolder folder;
  write_script(folder / "net.pt", NetImpl(), R"(
    def forward(self, x, level, labels):
      y = x[:, 0:1] * self.weight.sum()
      if self.training:
        y = y + 1
      return y
  )");
  ScriptNetwork network(folder / "net.pt", script_options);
  const at::Tensor x = at::zeros({1, 3, 4, 4});
  const std::vector<double> noise{0.5};
  for (int pass = 0; pass < 2; ++pass) {
    CHECK(network(x, noise, {}, {}).abs().max().item<double>() == 0);
    CHECK(network.record(x, noise, {}, {.training = true}).output.min().item<double>() == 1);
  }
  ScriptNetwork moved = std::move(network);
  CHECK(moved(x, noise, {}, {}).abs().max().item<double>() == 0);
}

TEST_CASE("A file beside a TorchScript network says what its arguments are") {
  const TemporaryFolder folder;
  const auto path = folder.add("net.json", R"({"input_channels": 3, "output_channels": 1, "label_dim": 2,
                                               "noise": "level", "class_labels": "labels"})");
  const auto options = read_settings<ScriptNetworkOptions>(path);
  CHECK(options.shape.label_dim == 2);
  CHECK(options.images == "x");
  CHECK(options.noise == "level");
  const std::string unknown = folder.add("a.json", R"({"noises": "x"})").string();
  CHECK_ERROR(DataError, "settings: " + unknown + ": expected a known key such as \"noise\", got \"noises\"",
              read_settings<ScriptNetworkOptions>(unknown));
  const std::string text = folder.add("b.json", "noise").string();
  CHECK_ERROR(DataError, "settings: " + text + ": expected a JSON object, got other text",
              read_settings<ScriptNetworkOptions>(text));
}

TEST_CASE("A network that does not do what was said of it is refused") {
  const TemporaryFolder folder;
  const NetImpl net;
  const std::string path = (folder / "net.pt").string();
  write_script(path, net);
  const auto refuse = [&](auto change) {
    ScriptNetworkOptions options = script_options;
    change(options);
    return options;
  };
  const std::string got = ", got forward(x, level, labels)";
  CHECK_ERROR(DataError, "ScriptNetwork: " + path + ": expected an argument \"images\" of forward" + got,
              ScriptNetwork(path, refuse([](auto& o) { o.images = "images"; })));
  CHECK_ERROR(DataError,
              "ScriptNetwork: " + path + ": expected no argument \"labels\" of forward without a default" + got,
              ScriptNetwork(path, refuse([](auto& o) { o.class_labels = "", o.shape.label_dim = 0; })));
  CHECK_ERROR(ConfigError, "ScriptNetwork: class_labels: expected none, as they have no width, got \"labels\"",
              ScriptNetwork(path, refuse([](auto& o) { o.shape.label_dim = 0; })));
  CHECK_ERROR(ConfigError, "ScriptNetwork: " + path + ": input_channels: expected at least 1, got 0",
              ScriptNetwork(path, refuse([](auto& o) { o.shape.input_channels = 0; })));
  CHECK_ERROR(FileError, "ScriptNetwork: " + path + "x: expected a readable file, got none",
              ScriptNetwork(path + "x", script_options));
  CHECK_THROWS_WITH(
      ScriptNetwork(folder.add("text", "text"), script_options),
      ContainsSubstring("ScriptNetwork: " + (folder / "text").string() + ": expected a TorchScript file"));

  const at::Tensor x = at::zeros({2, 3, 4, 4});
  const std::vector<double> noise{0.5, 0.5};
  const ScriptNetwork wide(path, refuse([](auto& o) { o.shape.output_channels = 2; }));
  CHECK_ERROR(DataError, "ScriptNetwork: " + path + ": output: expected [2, 2, 4, 4], got [2, 1, 4, 4]",
              wide(x, noise, {}, {}));
  const ScriptNetwork deep(path, refuse([](auto& o) { o.shape.input_channels = 4; }));
  CHECK_THROWS_WITH(
      deep(at::zeros({2, 4, 4, 4}), noise, {}, {}),
      ContainsSubstring("ScriptNetwork: " + path + ": forward: expected a network of [2, 4, 4, 4], got "));

  FunctionNetwork constant({}, {.input_channels = 3, .output_channels = 1},
                           [](const auto&, const NetworkInput& in) { return in.images.slice(1, 0, 1); });
  const auto record = constant.record(x, noise, {}, {.training = true});
  CHECK_ERROR(ConfigError, "AutogradNetwork: backward: expected weights that ask for gradients, got none",
              constant.backward(record, record.output));
}

TEST_CASE("A foreign network refuses arguments that do not fit what was said of it") {
  const std::vector<double> noise{0.5, 0.5};
  const Module network = module_network(std::make_shared<NetImpl>());
  const at::Tensor x = at::zeros({2, 3, 4, 4});
  CHECK_ERROR(ShapeError, "ModuleNetwork: input: expected [N, 3, h, w] with h and w divisible by 1, got [2, 4, 4, 4]",
              network(at::zeros({2, 4, 4, 4}), noise, {}, {}));
  CHECK_ERROR(ShapeError, "ModuleNetwork: c_noise: expected 2 values, got 1",
              network(x, std::span(noise).first(1), {}, {}));
  CHECK_ERROR(ShapeError, "ModuleNetwork: class_labels: expected [2, 2], got [1, 2]",
              network(x, noise, {.class_labels = at::zeros({1, 2})}, {}));
  CHECK_ERROR(ShapeError, "ModuleNetwork: augment_labels: expected [2, 0], got [2, 1]",
              network(x, noise, {.augment_labels = at::zeros({2, 1})}, {}));
}

/// A class that copies of it are not of.
struct DerivedImpl : NetImpl {};

TEST_CASE("A module that is none, or whose copies are of another class, is refused") {
  CHECK_ERROR(ConfigError, "ModuleNetwork: module: expected a module, got none", module_network(nullptr));
  const ModuleNetwork<DerivedImpl> network(std::make_shared<DerivedImpl>(), shape,
                                           [](DerivedImpl&, const NetworkInput& in) { return in.images; });
  CHECK_ERROR(ConfigError, "ModuleNetwork: module: expected a torch::nn::Cloneable of its own class, got one of a base",
              network.clone());
}

/// One convolution under two names.
struct TiedImpl : torch::nn::Cloneable<TiedImpl> {
  torch::nn::Conv2d one{nullptr};

  TiedImpl() { reset(); }
  void reset() override {
    one = register_module("one", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 1, 1)));
    register_module("two", one);
  }
};

TEST_CASE("A weight that a network has under two names is one weight, in copies too") {
  ModuleNetwork<TiedImpl> net(std::make_shared<TiedImpl>(), {.input_channels = 1, .output_channels = 1},
                              [](TiedImpl& own, const NetworkInput& in) { return own.one(own.one(in.images)); });
  const auto names = [](auto&& network) {
    std::vector<std::string> all;
    network.visit_parameters([&](std::string_view name, at::Tensor&, at::Tensor&) { all.emplace_back(name); });
    return all;
  };
  CHECK(names(net) == std::vector<std::string>{"one.weight", "one.bias"});
  CHECK(names(net.clone()) == std::vector<std::string>{"one.weight", "one.bias"});
}

}  // namespace
}  // namespace patchdiff
