// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/array_dataset.hpp>

#include "image_source.hpp"

/// A folder with the files of Fashion-MNIST or others of the same names and format, plain or gzip.
class DataFolder {
 public:
  /// `component` is what errors say; it names the command.
  DataFolder(std::filesystem::path folder, std::string component);

  /// The images, centred on black of size `pad_to`, with their labels where the folder has labels.
  ///
  /// Errors: FileError where the images are not there; what `read_idx_dataset` throws.
  patchdiff::ArrayDataset read(Split split, patchdiff::ImageSize pad_to = {}) const;

 private:
  std::filesystem::path find(const std::string& name) const;

  std::filesystem::path folder_;
  std::string component_;
};
