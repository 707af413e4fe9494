// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

/// Writes a small convolutional network as a TorchScript file, as a colleague's Python would by
/// `torch.jit.script(model).save(path)`, and beside it FILE.json, which names its arguments.
void write_colleagues_script(const std::filesystem::path& file);
