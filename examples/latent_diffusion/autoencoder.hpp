// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/nn/torch/torch_codec.hpp>

/// Trains a tiny autoencoder, images of 1x32x32 to latents of 4x8x8 and back, by the mean of squared and absolute
/// errors.
patchdiff::TorchCodec train_autoencoder(const patchdiff::ArrayDataset& source, std::int64_t images);
