// SPDX-License-Identifier: Apache-2.0
#include "colleagues_script.hpp"

#include <string>

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <patchdiff/io/atomic_file.hpp>

void write_colleagues_script(const std::filesystem::path& file) {
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
  patchdiff::AtomicFile text(file.string() + ".json", "own_network");
  text.write(R"({"input_channels": 3, "output_channels": 1, "label_dim": 10,)"
             R"( "noise": "sigma_label", "class_labels": "one_hot"})");
  text.commit();
}
