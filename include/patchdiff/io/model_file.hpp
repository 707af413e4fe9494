// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/average_info.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/require_version.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/save_weights.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/nn/any_network.hpp>

namespace patchdiff {

/// One safetensors file that holds a denoiser's weights, in float32, and all its settings.
///
/// The weights' names stand behind `model.`, as in published checkpoints. The file holds no time, host or path, so
/// equal models give equal bytes. Version 1; older files of it do not say which average the weights are.
namespace model_file {

/// Of the format.
inline constexpr std::string_view version = "1";
/// Of the weights' names.
inline constexpr std::string_view prefix = "model.";

/// Writes the model; it appears under its name when it is whole.
///
/// `more` is a program's own metadata, under keys of its own; SafetensorsReader hands them out.
/// Errors: FileError where the file cannot be written.
template <class Net>
void save(const std::filesystem::path& path, DenoiserWrapper<Net>& denoiser,
          const std::map<std::string, std::string>& more = {}) {
  std::map<std::string, std::string> metadata{{"format", "patchdiff"},
                                              {"version", std::string(version)},
                                              {"denoiser_settings", settings_json::text(denoiser.options())}};
  visit_network(denoiser.network(), [&](const auto& network) {
    metadata["network"] = network.name;
    metadata["network_settings"] = settings_json::text(network.options());
  });
  if (denoiser.average().kind != AverageKind::unknown) metadata["average"] = settings_json::text(denoiser.average());
  metadata.insert(more.begin(), more.end());
  save_weights(denoiser, path, prefix, metadata);
}

/// Rebuilds the denoiser that `save` wrote into a file; `source` is its name in error messages.
///
/// `Net` is the network that the file holds, or an AnyNetwork that knows it.
/// Errors: DataError for a file that holds another format, version or network.
template <class Net>
DenoiserWrapper<Net> load(const SafetensorsReader& file, const std::string& source,
                          typename Net::Backend::Device device = {}) {
  const auto value_of = [&](const std::string& key) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end()) {
      const std::vector<SafetensorsTensor>& tensors = file.tensors();
      refuse<DataError>("model_file", source, "a patchdiff model",
                        str("no \"", key, "\" in the metadata, beside ", tensors.size(), " tensors",
                            tensors.empty() ? "" : str(" such as \"", tensors.front().name, '"')));
    }
    return found->second;
  };
  const auto require_entry = [&](const std::string& key, std::string_view expected) {
    if (const std::string got = value_of(key); got != expected) {
      refuse<DataError>("model_file", source, str(key, " \"", expected, '"'), '"' + got + '"');
    }
  };
  require_entry("format", "patchdiff");
  require_version("model_file", source, version, value_of("version"),
                  "make a new file of its weights by examples/convert/convert.py");
  const std::string name = value_of("network"), settings = value_of("network_settings");
  std::optional<Net> network;
  std::vector<std::string> known;
  for_each_network<Net>([&]<class Kind>() {
    known.push_back(str('"', Kind::name, '"'));
    if (name != Kind::name) return;
    auto options = settings_json::options<typename Kind::Options>(settings, source);
    if constexpr (requires { Kind::unfilled(std::move(options), device); }) {
      network.emplace(Kind::unfilled(std::move(options), device));
    } else {
      network.emplace(Kind(std::move(options), RandomKey{}, device));
    }
  });
  if (!network) {
    refuse<DataError>("model_file", source, str("network ", join(known, " or ")), '"' + name + '"');
  }
  auto denoiser_settings = settings_json::options<DenoiserOptions>(value_of("denoiser_settings"), source);
  DenoiserWrapper<Net> denoiser(std::move(*network), std::move(denoiser_settings));
  AverageInfo average{.kind = AverageKind::unknown};
  if (file.metadata().contains("average")) {
    average = settings_json::options<AverageInfo>(value_of("average"), source);
  }
  denoiser.note_average(average);
  load_weights(denoiser, file, source, prefix);
  return denoiser;
}

/// The same from a file by its name.
///
/// Errors: as above; FileError and DataError for a file that cannot be read or is damaged.
template <class Net>
DenoiserWrapper<Net> load(const std::filesystem::path& path, typename Net::Backend::Device device = {}) {
  return load<Net>(SafetensorsReader(path), path.string(), device);
}

}  // namespace model_file

}  // namespace patchdiff
