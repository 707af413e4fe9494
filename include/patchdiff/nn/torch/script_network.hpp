// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <patchdiff/backend/torch/load_script.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/torch/foreign_network.hpp>

namespace patchdiff {

/// How a TorchScript network is called: what it takes, and what it calls its arguments. A text beside its file says so.
struct ScriptNetworkOptions {
  NetworkShape shape{};
  std::string images = "x";      ///< name of the argument [N, input_channels, h, w]
  std::string noise = "noise";   ///< name of the argument [N], c_noise
  std::string class_labels{};    ///< name of the argument [N, label_dim]; empty: not passed
  std::string augment_labels{};  ///< name of the argument [N, augment_dim]; empty: not passed

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    NetworkShape::describe(self.shape, visit);
    visit("images", self.images, "name of the argument of noisy images and coordinates");
    visit("noise", self.noise, "name of the argument of noise levels, c_noise");
    visit("class_labels", self.class_labels, "name of the argument of class labels, empty: not passed");
    visit("augment_labels", self.augment_labels, "name of the argument of augmentation labels, empty: not passed");
  }
};

/// A network from a TorchScript file, to train or to sample.
///
/// A TorchScript file is a program: open only one that you trust as much as your own code.
class ScriptNetwork : public ForeignNetwork<ScriptNetwork> {
 public:
  using Options = ScriptNetworkOptions;

  /// Errors: as of `load_script`; ConfigError for labels that have a width and no name, or the reverse; DataError for a
  /// network whose `forward` has no such argument, or others that must be given.
  ScriptNetwork(const std::filesystem::path& file, ScriptNetworkOptions options, TorchDevice device = {})
      : ScriptNetwork(load_script(file, device, component), std::move(options), file.string(), device) {}

  at::Tensor call(const NetworkInput& input) const {
    set_mode(module_, input.pass.training);
    std::unordered_map<std::string, at::IValue> arguments{{options_.images, input.images},
                                                          {options_.noise, input.noise}};
    if (!options_.class_labels.empty()) arguments.emplace(options_.class_labels, input.class_labels);
    if (!options_.augment_labels.empty()) arguments.emplace(options_.augment_labels, input.augment_labels);
    const at::IValue output = module_.get_method("forward")({}, arguments);
    return output.isTensor() ? output.toTensor() : at::Tensor();
  }

  ScriptNetwork clone() const {
    const at::NoGradGuard no_grad;  // copies are no results of the weights
    torch::jit::Module copy = module_.deepcopy();
    std::unordered_map<std::string, bool> trained;
    for (const auto& item : module_.named_parameters()) trained[item.name] = item.value.requires_grad();
    for (const auto& item : copy.named_parameters()) item.value.set_requires_grad(trained[item.name]);
    return {std::move(copy), options_, file_, device()};
  }

  const ScriptNetworkOptions& options() const noexcept { return options_; }

 private:
  static constexpr const char* component = "ScriptNetwork";

  ScriptNetwork(torch::jit::Module module, ScriptNetworkOptions options, std::string file, TorchDevice device)
      : ForeignNetwork(options.shape, str(component, ": ", file), device),
        options_(std::move(options)),
        file_(std::move(file)),
        module_(std::move(module)) {
    require_signature();
    module_.to(device.device);
    module_.to(device.scalar);
    for (const auto& item : module_.named_parameters()) add(item.name, item.value);
    for (const auto& item : module_.named_buffers()) add(item.name, item.value);
  }

  void require_signature() const {
    const auto require_both = [](std::string_view key, std::int64_t width, const std::string& name) {
      if ((width > 0) != name.empty()) return;
      refuse<ConfigError>(component, key, width > 0 ? "the name of an argument" : "none, as they have no width",
                          str('"', name, '"'));
    };
    require_both("class_labels", options_.shape.label_dim, options_.class_labels);
    require_both("augment_labels", options_.shape.augment_dim, options_.augment_labels);
    const auto forward = module_.find_method("forward");
    if (!forward) refuse<DataError>(component, file_, "a module with a method forward", "none");
    std::vector<std::string> all, needed;
    for (const c10::Argument& argument : forward->function().getSchema().arguments()) {
      if (argument.name() == "self") continue;
      all.push_back(argument.name());
      if (!argument.default_value()) needed.push_back(argument.name());
    }
    const auto refuse_signature = [&](const std::string& expected) {
      refuse<DataError>(component, file_, expected, str("forward(", join(all, ", "), ')'));
    };
    const std::vector<std::string> passed{options_.images, options_.noise, options_.class_labels,
                                          options_.augment_labels};
    const auto has = [](const std::vector<std::string>& names, const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const std::string& name : passed) {
      if (!name.empty() && !has(all, name)) refuse_signature(str("an argument \"", name, "\" of forward"));
    }
    for (const std::string& name : needed) {
      if (!has(passed, name)) refuse_signature(str("no argument \"", name, "\" of forward without a default"));
    }
  }

  ScriptNetworkOptions options_;
  std::string file_;
  mutable torch::jit::Module module_;  ///< a handle; its mode is set at each call
};

}  // namespace patchdiff
