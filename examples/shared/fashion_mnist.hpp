// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/idx_dataset.hpp>

/// Where Debian's dataset-fashion-mnist puts its four files.
inline const std::filesystem::path fashion_mnist_folder = "/usr/share/datasets/fashion-mnist";

/// The images and labels of a split, "train" or "t10k": 1x28x28, centred on black of 32x32.
///
/// Errors: as `read_idx_dataset`.
inline patchdiff::ArrayDataset fashion_mnist(const std::filesystem::path& folder, const std::string& split) {
  return patchdiff::read_idx_dataset({.images = folder / (split + "-images-idx3-ubyte.gz"),
                                      .labels = folder / (split + "-labels-idx1-ubyte.gz"),
                                      .pad_to = {32, 32}});
}
