// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/backend/torch/torch_reason.hpp>
#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// The module of a TorchScript file, in evaluation mode.
///
/// A TorchScript file is a program: open only one that you trust as much as your own code.
/// Errors, which name the component: FileError for no file; DataError for one that is no TorchScript.
inline torch::jit::Module load_script(const std::filesystem::path& file, TorchDevice device,
                                      std::string_view component) {
  std::error_code unknown;
  if (!std::filesystem::is_regular_file(file, unknown)) {
    refuse<FileError>(component, file.string(), "a readable file", "none");
  }
  try {
    torch::jit::Module module = torch::jit::load(file.string(), device.device);
    module.eval();
    return module;
  } catch (const std::exception& error) {
    refuse<DataError>(component, file.string(), "a TorchScript file", torch_reason(error));
  }
}

}  // namespace patchdiff
