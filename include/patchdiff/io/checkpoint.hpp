// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/io/load_weights.hpp>
#include <patchdiff/io/require_version.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/safetensors_writer.hpp>
#include <patchdiff/io/settings_json.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// The parts of a run whose tensors a checkpoint holds, by reference: a model, an optimiser, averages.
template <Backend B>
class CheckpointParts {
 public:
  using Backend = B;
  using Tensor = typename B::Tensor;
  using Visitor = std::function<void(std::string_view, Tensor&)>;

  /// The part's tensors stand behind its name and a dot; it must outlive this. A part with `resume(state)` is told
  /// where a restored run goes on.
  template <HasState Part>
  CheckpointParts& add(std::string name, Part& part) {
    parts_.push_back([name = std::move(name), &part](const Visitor& visit) {
      part.visit_state([&](std::string_view tensor, Tensor& value) { visit(str(name, '.', tensor), value); });
    });
    if constexpr (requires(const TrainState& state) { part.resume(state); }) {
      resumed_.push_back([&part](const TrainState& state) { part.resume(state); });
    }
    return *this;
  }

  void visit_state(const Visitor& visit) const {
    for (const auto& part : parts_) part(visit);
  }

  /// Tells parts that a run goes on from `state`.
  void resume(const TrainState& state) const {
    for (const auto& part : resumed_) part(state);
  }

 private:
  std::vector<std::function<void(const Visitor&)>> parts_;
  std::vector<std::function<void(const TrainState&)>> resumed_;
};

/// A file that a training run goes on from: every tensor to the bit, the run's state, and a program's own settings.
///
/// A safetensors file. Values are stored in float32 where that loses nothing, else in float64. Each tensor and the rest
/// of the metadata have a CRC-32. The file holds no time, host or path. Version 1.
class Checkpoint {
 public:
  using Settings = std::map<std::string, std::string>;

  /// Writes a checkpoint; it appears under its name when it is whole.
  ///
  /// Cost: reads every tensor twice to the host, one at a time. Errors: FileError; an earlier file then stays.
  template <Backend B>
  static void save(const std::filesystem::path& path, const CheckpointParts<B>& parts, const TrainState& state,
                   const Settings& settings = {}) {
    std::map<std::string, typename B::Tensor> tensors;
    std::vector<SafetensorsEntry> entries;
    settings_json::Json checksums = settings_json::Json::object();
    parts.visit_state([&](std::string_view name, typename B::Tensor& value) {
      const std::vector<double> values = B::to_host(value);
      const SafetensorsType type = fits_float(values) ? SafetensorsType::float32 : SafetensorsType::float64;
      checksums[std::string(name)] = checksum(stored(values, type));
      entries.push_back({.name = std::string(name), .type = type, .shape = B::shape(value)});
      tensors.emplace(name, value);
    });
    Settings metadata{{"format", format},
                      {"version", version},
                      {"state", settings_json::text(state)},
                      {"settings", settings_json::Json(settings).dump()},
                      {"checksums", checksums.dump()}};
    metadata["checksum"] = checksum(metadata);
    SafetensorsWriter writer(path, std::move(entries), metadata);
    for (const SafetensorsEntry& entry : writer.entries()) {
      writer.write(stored(B::to_host(tensors.at(entry.name)), entry.type));
    }
    writer.commit();
  }

  /// Reads a checkpoint and verifies all of it.
  ///
  /// Errors: FileError; VersionError; DataError for a file of another kind, or a damaged one.
  explicit Checkpoint(const std::filesystem::path& path) : path_(path.string()), file_(path) {
    const Settings& metadata = file_.metadata();
    const auto value_of = [&](const std::string& key) {
      const auto found = metadata.find(key);
      if (found == metadata.end()) refuse_file("a checkpoint of patchdiff", str("no \"", key, "\" in the metadata"));
      return found->second;
    };
    if (value_of("format") != format) refuse_file("a checkpoint of patchdiff", value_of("format"));
    require_version("Checkpoint", path_, version, value_of("version"), "finish the run with the one that wrote it");
    Settings judged = metadata;
    judged.erase("checksum");
    if (value_of("checksum") != checksum(judged)) refuse_file("metadata as they were written", "others");
    state_ = settings_json::options<TrainState>(value_of("state"), path_);
    settings_ = texts(value_of("settings"));
    Settings checksums = texts(value_of("checksums"));
    for (const SafetensorsTensor& tensor : file_.tensors()) {
      if (checksums[tensor.name] != checksum(file_.read(tensor))) {
        refuse_file("tensors as they were written", str("another \"", tensor.name, '"'));
      }
    }
  }

  const TrainState& state() const noexcept { return state_; }
  const Settings& settings() const noexcept { return settings_; }

  /// Gives the parts the tensors of the file, and averages the images that they have seen.
  ///
  /// Errors: DataError that lists every missing, unknown and wrongly shaped tensor; the parts are as before then.
  template <Backend B>
  void restore(const CheckpointParts<B>& parts) const {
    load_weights(parts, file_, path_, "");
    parts.resume(state_);
  }

 private:
  static constexpr const char* format = "patchdiff_checkpoint";
  static constexpr const char* version = "1";

  [[noreturn]] void refuse_file(std::string_view expected, std::string_view got) const {
    refuse<DataError>("Checkpoint", path_, expected, got);
  }

  /// A JSON object of texts.
  Settings texts(const std::string& text) const {
    try {
      return settings_json::Json::parse(text).get<Settings>();
    } catch (const settings_json::Json::exception&) {
      refuse_file("a JSON object of texts", text.substr(0, 80));
    }
  }

  static bool fits_float(const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(),
                       [](double value) { return static_cast<double>(static_cast<float>(value)) == value; });
  }

  static std::vector<std::byte> stored(const std::vector<double>& values, SafetensorsType type) {
    const auto bytes_of = [](const auto& numbers) {
      const auto bytes = std::as_bytes(std::span(numbers));
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    };
    if (type == SafetensorsType::float64) return bytes_of(values);
    return bytes_of(std::vector<float>(values.begin(), values.end()));
  }

  static std::string checksum(std::span<const std::byte> bytes) {
    return padded(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()), 8, 16);
  }

  static std::string checksum(const Settings& metadata) {
    std::string text;
    for (const auto& [key, value] : metadata) text.append(key).append(1, '\0').append(value).append(1, '\0');
    return checksum(std::as_bytes(std::span(text)));
  }

  std::string path_;
  SafetensorsReader file_;
  TrainState state_{};
  Settings settings_{};
};

}  // namespace patchdiff
