// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/array_dataset.hpp>

/// Which half of a data set: the names of Fashion-MNIST's files begin so.
enum class Split { train, test };

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

/// What tells a data set from another: number, size and classes of its images, and a checksum of pixels and labels.
std::string data_fingerprint(const patchdiff::ArrayDataset& data);

/// The names of a data set's classes: garments where the fingerprint is that of Fashion-MNIST's training images, else
/// numbers.
std::vector<std::string> default_class_names(const std::string& fingerprint, std::int64_t classes);
