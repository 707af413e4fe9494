// SPDX-License-Identifier: Apache-2.0
#include "data_folder.hpp"

#include <utility>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/data/idx_dataset.hpp>

namespace fs = std::filesystem;
namespace pd = patchdiff;

DataFolder::DataFolder(fs::path folder, std::string component)
    : folder_(std::move(folder)), component_(std::move(component)) {}

pd::ArrayDataset DataFolder::read(Split split, pd::ImageSize pad_to) const {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const fs::path images = find(prefix + "-images-idx3-ubyte");
  if (images.empty()) {
    throw pd::FileError(component_, "--data", fmt::format("a folder with {}-images-idx3-ubyte or .gz", prefix),
                        fmt::format("\"{}\"", folder_.string()));
  }
  return pd::read_idx_dataset({.images = images, .labels = find(prefix + "-labels-idx1-ubyte"), .pad_to = pad_to});
}

fs::path DataFolder::find(const std::string& name) const {
  std::error_code unknown;
  for (const char* suffix : {"", ".gz"}) {
    if (fs::path path = folder_ / (name + suffix); fs::exists(path, unknown)) return path;
  }
  return {};
}
