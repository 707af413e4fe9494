// SPDX-License-Identifier: Apache-2.0
#include "model.hpp"

#include <optional>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/settings_json.hpp>

#include "read_record.hpp"

namespace pd = patchdiff;

namespace {

constexpr const char* program_key = "program";

std::optional<at::Device> device_named(const std::string& name) {
  try {
    const at::Device device(name);
    if (device.is_cpu() || (device.is_cuda() && at::hasCUDA())) return device;
  } catch (const c10::Error&) {
  }
  return std::nullopt;
}

}  // namespace

pd::TorchDevice prepare_device(const ExecutionSettings& execution, const std::string& component) {
  if (execution.threads < 1 || execution.threads > 4096) {
    throw pd::ConfigError(component, "--threads", "1 to 4096", fmt::format("{}", execution.threads));
  }
  const std::optional<at::Device> device = device_named(execution.device);
  if (!device) {
    throw pd::ConfigError(component, "--device", at::hasCUDA() ? "cpu or cuda" : "cpu, as this machine has no other",
                          fmt::format("\"{}\"", execution.device));
  }
  at::set_num_threads(static_cast<int>(execution.threads));
  return {*device};
}

Model load_model(const std::filesystem::path& path, pd::TorchDevice device) {
  const pd::SafetensorsReader file(path);
  Model model{pd::model_file::load<AnyUNet>(file, path.string(), device)};
  if (const auto found = file.metadata().find(program_key); found != file.metadata().end()) {
    model.program = found->second;
  }
  model.recorded = file.metadata().contains(ModelRecord::key);
  model.record = read_record(file, path.string(), model.denoiser.label_dim());
  return model;
}

void save_model(const std::filesystem::path& path, Denoiser& denoiser, const ModelRecord& record) {
  pd::model_file::save(
      path, denoiser,
      {{ModelRecord::key, pd::settings_json::text(record)}, {program_key, "patchdiff " PATCHDIFF_VERSION}});
}

void require_same_data(const ModelRecord& record, const std::string& fingerprint, const std::string& component) {
  if (record.data.empty() || record.data == fingerprint) return;
  throw pd::DataError(component, "--data", "the images that the model was trained on, " + record.data, fingerprint);
}
