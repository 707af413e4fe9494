// SPDX-License-Identifier: Apache-2.0
// Writes a TorchScript file: write_torch_script FILE SOURCE, where the source is that of the network's forward.
#include <exception>

#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    torch::jit::Module network("Network");
    network.define(argv[2]);
    network.save(argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "write_torch_script: {}\n", error.what());
    return 1;
  }
}
