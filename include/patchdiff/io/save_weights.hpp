// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/io/safetensors_writer.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// Writes a network's weights and constants in float32, each name behind `prefix`; `load_weights` reads them.
///
/// Errors: FileError where the file cannot be written; it appears under its name when it is whole.
template <HasParameters Net>
void save_weights(Net& net, const std::filesystem::path& path, std::string_view prefix,
                  const std::map<std::string, std::string>& metadata = {}) {
  using B = typename Net::Backend;
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::vector<float>> values;
  net.visit_state([&](std::string_view name, typename B::Tensor& value) {
    const std::string full = fmt::format("{}{}", prefix, name);
    const std::vector<double> wide = B::to_host(value);
    entries.push_back({.name = full, .type = SafetensorsType::float32, .shape = B::shape(value)});
    values.emplace(full, std::vector<float>(wide.begin(), wide.end()));
  });
  SafetensorsWriter writer(path, std::move(entries), metadata);
  for (const SafetensorsEntry& entry : writer.entries()) {
    writer.write(std::as_bytes(std::span<const float>(values.at(entry.name))));
  }
  writer.commit();
}

}  // namespace patchdiff
