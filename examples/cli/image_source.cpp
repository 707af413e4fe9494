// SPDX-License-Identifier: Apache-2.0
#include "image_source.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <zlib.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/data/idx_dataset.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/npy_layout.hpp>
#include <patchdiff/io/mapped_file.hpp>

#include "command_line.hpp"

namespace fs = std::filesystem;
namespace pd = patchdiff;

namespace {

/// A checksum of what is added to it.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    value_ = crc32_z(value_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }

  /// `count` blocks of 4 KiB that are spread over the bytes, the first and the last one among them; fewer if they meet.
  void add_spread(std::span<const std::byte> bytes, std::size_t count) {
    constexpr std::size_t block = 4096;
    if (bytes.size() <= block * count) return add(bytes);
    for (std::size_t at = 0; at < count; ++at) add(bytes.subspan((bytes.size() - block) / (count - 1) * at, block));
    add(bytes.last(block));
  }

  uLong value() const noexcept { return value_; }

 private:
  uLong value_ = crc32_z(0, nullptr, 0);
};

template <class Images>
ImageSource source_of(Images images, const Checksum& checksum, std::vector<std::string> skipped = {}) {
  pd::AnyDataset any(std::move(images));
  std::string fingerprint = fmt::format("{} images of {} in {} classes, crc32 {:08x}", any.size(),
                                        to_string(any.shape()), any.class_count(), checksum.value());
  return {.images = std::move(any), .fingerprint = std::move(fingerprint), .skipped = std::move(skipped)};
}

ImageSource source_of(pd::ArrayDataset images) {
  Checksum checksum;
  for (std::int64_t index = 0; index < images.size(); ++index) {
    checksum.add(std::as_bytes(images.pixels(index)));
    if (images.class_count() == 0) continue;
    const auto label = static_cast<std::byte>(images.label(index));
    checksum.add(std::span(&label, 1));
  }
  return source_of(std::move(images), checksum);
}

ImageSource source_of(pd::ImageFolder images, const fs::path& folder) {
  constexpr std::int64_t whole = 64;
  Checksum checksum;
  for (std::int64_t index = 0; index < images.size(); ++index) {
    const std::string& name = images.name(index);
    const fs::path path = folder / std::u8string(name.begin(), name.end());
    checksum.add(fmt::format("{} {} {}\n", name, fs::file_size(path),
                             images.class_count() > 0 ? images.label(index) : std::int64_t{-1}));
    const std::int64_t between = std::max<std::int64_t>(1, images.size() / whole);
    if (index % between == 0) checksum.add(pd::MappedFile(path, "train").bytes());
  }
  std::vector<std::string> skipped = images.skipped();
  return source_of(std::move(images), checksum, std::move(skipped));
}

std::string_view prefix_of(Split split) { return split == Split::train ? "train" : "t10k"; }

/// An IDX file of a folder, plain or gzip; empty where there is none.
fs::path idx_file(const fs::path& folder, Split split, std::string_view kind) {
  std::error_code unknown;
  for (const char* suffix : {"", ".gz"}) {
    if (fs::path path = folder / fmt::format("{}-{}{}", prefix_of(split), kind, suffix); fs::exists(path, unknown)) {
      return path;
    }
  }
  return {};
}

}  // namespace

void add_unreadable(CLI::App& command, Unreadable& unreadable) {
  add_value<Unreadable>(command, "--unreadable", "what happens to files that are no sound pictures",
                        [&unreadable](Unreadable given) { unreadable = given; })
      ->default_str(setting_text(unreadable));
}

void ImageSource::tell_skipped() const {
  for (const std::string& reason : skipped) fmt::print(stderr, "patchdiff: left out: {}\n", reason);
}

ImageSource open_images(const fs::path& path, Split split, Unreadable unreadable, const std::string& component,
                        std::string_view option) {
  std::error_code unknown;
  if (path.extension() == ".npy" && !fs::is_directory(path, unknown)) {
    pd::MappedArray images(path, pd::read_npy_layout(path));
    Checksum checksum;
    const pd::MappedFile file(path, component);
    checksum.add(fmt::format("{}", file.bytes().size()));
    checksum.add_spread(file.bytes(), 256);
    return source_of(std::move(images), checksum);
  }
  if (const fs::path images = idx_file(path, split, "images-idx3-ubyte"); !images.empty()) {
    return source_of(pd::read_idx_dataset({.images = images, .labels = idx_file(path, split, "labels-idx1-ubyte")}));
  }
  if (!fs::is_directory(path, unknown)) {
    throw pd::FileError(component, option,
                        fmt::format("a folder with {}-images-idx3-ubyte or .gz, or with PNG or JPEG files, or an NPY "
                                    "file",
                                    prefix_of(split)),
                        fmt::format("\"{}\"", path.string()));
  }
  const fs::path labels = path / "dataset.json";
  return source_of(pd::ImageFolder(path, {.labels = fs::exists(labels, unknown) ? labels : fs::path(),
                                          .refused = unreadable == Unreadable::skip ? pd::RefusedFiles::skip
                                                                                    : pd::RefusedFiles::stop}),
                   path);
}

std::optional<ImageSource> open_test_images(const fs::path& data, const fs::path& test, Unreadable unreadable,
                                            const std::string& component) {
  const fs::path& path = test.empty() ? data : test;
  const Split split = idx_file(path, Split::test, "images-idx3-ubyte").empty() ? Split::train : Split::test;
  if (test.empty() && split == Split::train) return std::nullopt;
  return open_images(path, split, unreadable, component, "--test");
}

pd::DatasetStatistics measure_some(const pd::AnyDataset& images) {
  constexpr std::int64_t most_values = std::int64_t{1} << 30;
  const std::int64_t values = value_count(images.shape());
  const std::int64_t count =
      std::clamp<std::int64_t>(most_values / values, 1, std::min<std::int64_t>(images.size(), 10'000));
  pd::DatasetStatistics statistics(images.shape().channels);
  std::vector<float> image(static_cast<std::size_t>(values));
  for (std::int64_t part = 0; part < count; ++part) {
    const std::int64_t index = images.size() / count * part + images.size() % count * part / count;
    images.read(index, image);
    pd::require_finite("train", image, index);
    statistics.add(image);
  }
  return statistics;
}

std::vector<std::string> default_class_names(const std::string& fingerprint, std::int64_t classes) {
  if (fingerprint == "60000 images of 1x28x28 in 10 classes, crc32 16ec0e82") {
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
  }
  std::vector<std::string> numbers;
  for (std::int64_t label = 0; label < classes; ++label) numbers.push_back(fmt::format("{}", label));
  return numbers;
}
