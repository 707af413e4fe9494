// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/safetensors_writer.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// Writes a network's weights and constants in float32, each name behind `prefix`; `load_weights` reads them.
///
/// Cost: reads one tensor at a time to the host.
/// Errors: FileError where the file cannot be written; it appears under its name when it is whole.
template <HasParameters Net>
void save_weights(Net& net, const std::filesystem::path& path, std::string_view prefix,
                  const std::map<std::string, std::string>& metadata = {}) {
  using B = typename Net::Backend;
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, typename B::Tensor> tensors;
  net.visit_state([&](std::string_view name, typename B::Tensor& value) {
    const std::string full = str(prefix, name);
    entries.push_back({.name = full, .type = SafetensorsType::float32, .shape = B::shape(value)});
    tensors.emplace(full, value);
  });
  SafetensorsWriter writer(path, std::move(entries), metadata);
  for (const SafetensorsEntry& entry : writer.entries()) {
    const std::vector<double> wide = B::to_host(tensors.at(entry.name));
    const std::vector<float> values(wide.begin(), wide.end());
    writer.write(std::as_bytes(std::span(values)));
  }
  writer.commit();
}

}  // namespace patchdiff
