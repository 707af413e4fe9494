// SPDX-License-Identifier: Apache-2.0
// The program's models: networks of any kind that it knows, and a file that holds everything.
#pragma once

#include <filesystem>
#include <string>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/nn/any_network.hpp>
#include <patchdiff/nn/torch/dhariwal_unet.hpp>
#include <patchdiff/nn/torch/song_unet.hpp>

#include "settings.hpp"

using B = patchdiff::TorchBackend;
using AnyUNet = patchdiff::AnyNetwork<patchdiff::SongUNet, patchdiff::DhariwalUNet>;
using Denoiser = patchdiff::DenoiserWrapper<AnyUNet>;

struct Model {
  Denoiser denoiser;
  ModelRecord record{};
  bool recorded = false;  ///< whether a file held the record
  std::string program{};  ///< what wrote the file, where it says so
};

/// The device to compute on; sets LibTorch's number of threads. Errors: ConfigError.
patchdiff::TorchDevice prepare_device(const ExecutionSettings& execution, const std::string& component);

/// Reads a model. Of a file that another program wrote, the record holds defaults and numbers as class names.
///
/// Errors: as of `model_file::load`.
Model load_model(const std::filesystem::path& path, patchdiff::TorchDevice device);

void save_model(const std::filesystem::path& path, Denoiser& denoiser, const ModelRecord& record);

/// Refuses data that a model was not trained on; a model of another program does not say what it was trained on.
void require_same_data(const ModelRecord& record, const std::string& fingerprint, const std::string& component);
