// SPDX-License-Identifier: Apache-2.0
#include "data_folder.hpp"

#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <zlib.h>

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

std::string data_fingerprint(const pd::ArrayDataset& data) {
  uLong checksum = crc32_z(0, nullptr, 0);
  for (std::int64_t index = 0; index < data.size(); ++index) {
    const std::span<const std::uint8_t> pixels = data.pixels(index);
    checksum = crc32_z(checksum, pixels.data(), pixels.size());
    if (data.class_count() == 0) continue;
    const auto label = static_cast<std::uint8_t>(data.label(index));
    checksum = crc32_z(checksum, &label, 1);
  }
  return fmt::format("{} images of {} in {} classes, crc32 {:08x}", data.size(), to_string(data.shape()),
                     data.class_count(), checksum);
}

std::vector<std::string> default_class_names(const std::string& fingerprint, std::int64_t classes) {
  if (fingerprint == "60000 images of 1x28x28 in 10 classes, crc32 16ec0e82") {
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
  }
  std::vector<std::string> numbers;
  for (std::int64_t label = 0; label < classes; ++label) numbers.push_back(fmt::format("{}", label));
  return numbers;
}
