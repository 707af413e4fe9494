// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/decoded_picture.hpp>
#include <patchdiff/io/label_file.hpp>
#include <patchdiff/io/read_picture.hpp>

namespace patchdiff {

/// What ImageFolder does with files that `read_picture` refuses.
enum class RefusedFiles : std::uint8_t {
  stop,  ///< throws: when the folder is opened if the file's header shows it, else when the image is read
  skip,  ///< decodes each file once when the folder is opened, and leaves out and lists what it cannot
};

/// Which files an ImageFolder takes, and what it does about the others.
struct ImageFolderOptions {
  std::filesystem::path labels{};  ///< EDM's `dataset.json`, see `read_label_file`; empty: no labels
  std::int64_t class_count = 0;    ///< 0: one more than the largest label, and each class must have an image
  RefusedFiles refused = RefusedFiles::stop;
  PictureLimits limits{};
};

/// A dataset of the PNG and JPEG files below a folder, decoded when they are read.
///
/// The images are all files whose names end in .png, .jpg or .jpeg, in the order of the bytes of their paths below the
/// folder; links to folders are not followed. All have one size and number of channels (see `read_picture` for what is
/// refused); 65535, white, is read as 1 and black as -1, for 8 bits just as by ArrayDataset. Number and order are fixed
/// once the folder is open: a file that goes bad later stops the run, whatever the policy. Reading is safe from several
/// threads. Cost: opening reads the header of each file, or with `RefusedFiles::skip` the whole of it.
class ImageFolder {
 public:
  /// Errors: FileError for what cannot be read; ConfigError for a negative `class_count`; DataError for a folder
  /// without images, images of different shapes, labels that do not fit the files, and files that `read_picture`
  /// refuses.
  explicit ImageFolder(std::filesystem::path folder, ImageFolderOptions options = {})
      : folder_(std::move(folder)), options_(std::move(options)) {
    require<ConfigError>(options_.class_count >= 0, "ImageFolder", "class_count", "0 or more", options_.class_count);
    std::vector<std::string> names = picture_names();
    if (names.empty()) refuse_file(folder_, "PNG or JPEG files", "none");
    const std::vector<std::int64_t> labels = labels_of(names);
    open_pictures(std::move(names), labels);
    if (!labels_.empty()) require_classes();
  }

  std::int64_t size() const noexcept { return static_cast<std::int64_t>(names_.size()); }
  ImageShape shape() const noexcept { return shape_; }

  /// The number of classes; 0 without labels.
  std::int64_t class_count() const noexcept { return labels_.empty() ? 0 : class_count_; }

  /// The class of an image. Errors: DataError for an index out of range, and without labels.
  std::int64_t label(std::int64_t index) const {
    require_index(index);
    require<DataError>(!labels_.empty(), "ImageFolder", "labels", "labels", "none");
    return labels_[static_cast<std::size_t>(index)];
  }

  /// The path of an image below the folder, with slashes. Errors: DataError for an index out of range.
  const std::string& name(std::int64_t index) const {
    require_index(index);
    return names_[static_cast<std::size_t>(index)];
  }

  /// Why each file was left out, in order: the messages of the errors, which name the file.
  const std::vector<std::string>& skipped() const noexcept { return skipped_; }

  /// Writes an image as [C, H, W] floats, from -1 for black to 1 for white.
  ///
  /// Errors: DataError for an index out of range, and for a file that was changed or that `read_picture` refuses;
  /// FileError for one that cannot be read; ShapeError for an `out` of another size.
  void read(std::int64_t index, std::span<float> out) const {
    const std::filesystem::path path = path_of(name(index));
    if (out.size() != static_cast<std::size_t>(value_count(shape_))) {
      refuse<ShapeError>("ImageFolder", "out", str(value_count(shape_), " values"), str(out.size()));
    }
    const auto pixels = static_cast<std::size_t>(pixel_count(shape_.size()));
    const auto channels = static_cast<std::size_t>(shape_.channels);
    const DecodedPicture picture = read_picture(path, options_.limits);
    require_shape(path, picture.shape);
    for (std::size_t channel = 0; channel < channels; ++channel) {
      for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
        // An 8-bit value is 257 times as large here, and its quotient rounds to the same float.
        const std::uint16_t value = picture.values[pixel * channels + channel];
        out[channel * pixels + pixel] = static_cast<float>(value) / 32767.5F - 1.0F;
      }
    }
  }

 private:
  [[noreturn]] static void refuse_file(const std::filesystem::path& path, std::string_view expected,
                                       std::string_view got) {
    refuse<DataError>("ImageFolder", path.string(), expected, got);
  }

  static std::string utf8(const std::filesystem::path& path) {
    const std::u8string text = path.generic_u8string();
    return {text.begin(), text.end()};
  }

  std::filesystem::path path_of(const std::string& name) const {
    return folder_ / std::filesystem::path(std::u8string(name.begin(), name.end()));
  }

  static bool is_picture_name(const std::filesystem::path& path) {
    std::string ending = utf8(path.extension());
    std::transform(ending.begin(), ending.end(), ending.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    return ending == ".png" || ending == ".jpg" || ending == ".jpeg";
  }

  std::vector<std::string> picture_names() const {
    std::vector<std::string> names;
    std::error_code failure;
    std::filesystem::recursive_directory_iterator entry(folder_, failure);
    while (!failure && entry != std::filesystem::recursive_directory_iterator{}) {
      const std::filesystem::path& path = entry->path();
      std::error_code dangling;  // such a link is found out when it is opened
      if (is_picture_name(path) && !entry->is_directory(dangling)) {
        names.push_back(utf8(path.lexically_relative(folder_)));
      }
      entry.increment(failure);
    }
    if (failure) {
      refuse<FileError>("ImageFolder", folder_.string(), "a readable folder", str('"', failure.message(), '"'));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  /// Labels of all files, sound or not, or none; sets the number of classes.
  std::vector<std::int64_t> labels_of(const std::vector<std::string>& names) {
    if (options_.labels.empty()) return {};
    const std::optional<FileLabels> known = read_label_file(options_.labels);
    if (!known) return {};
    for (const auto& [name, label] : *known) {
      if (!std::binary_search(names.begin(), names.end(), name)) {
        refuse_file(options_.labels, str("pictures in ", folder_.string()), str('"', name, '"'));
      }
      if (options_.class_count > 0 && label >= options_.class_count) {
        refuse_file(options_.labels, str("classes less than ", options_.class_count), str(label, " of \"", name, '"'));
      }
      class_count_ = std::max(class_count_, label + 1);
    }
    if (options_.class_count > 0) class_count_ = options_.class_count;
    std::vector<std::int64_t> labels;
    for (const std::string& name : names) {
      const auto found = known->find(name);
      if (found == known->end()) refuse_file(options_.labels, str("a label of \"", name, '"'), "none");
      labels.push_back(found->second);
    }
    return labels;
  }

  /// Keeps the names and labels of the files that can be read.
  void open_pictures(std::vector<std::string> names, const std::vector<std::int64_t>& labels) {
    for (std::size_t index = 0; index < names.size(); ++index) {
      const std::filesystem::path path = path_of(names[index]);
      ImageShape shape;
      if (options_.refused == RefusedFiles::stop) {
        shape = read_picture_shape(path, options_.limits);
      } else {
        try {
          shape = read_picture(path, options_.limits).shape;
        } catch (const DataError& error) {
          skipped_.emplace_back(error.what());
          continue;
        }
      }
      if (names_.empty()) shape_ = shape;
      require_shape(path, shape);
      names_.push_back(std::move(names[index]));
      if (!labels.empty()) labels_.push_back(labels[index]);
    }
    if (names_.empty()) refuse_file(folder_, "a sound picture", str(names.size(), " refused: ", skipped_[0]));
  }

  void require_shape(const std::filesystem::path& path, ImageShape shape) const {
    if (shape == shape_) return;
    refuse_file(path, str("an image of ", to_string(shape_), ", as the first is"), to_string(shape));
  }

  void require_classes() const {
    if (options_.class_count > 0) return;  // a host that gives a number may have images of some alone
    std::int64_t next = 0;
    for (const std::int64_t label : std::set<std::int64_t>(labels_.begin(), labels_.end())) {
      if (label != next) break;
      ++next;
    }
    if (next == class_count_) return;
    refuse_file(options_.labels, str("images of each class from 0 to ", class_count_ - 1), str("none of class ", next));
  }

  void require_index(std::int64_t index) const {
    if (index >= 0 && index < size()) return;
    refuse<DataError>("ImageFolder", "index", str("0 to ", size() - 1), str(index));
  }

  std::filesystem::path folder_;
  ImageFolderOptions options_;
  ImageShape shape_{};
  std::vector<std::string> names_;
  std::vector<std::int64_t> labels_;  ///< one per name, or empty
  std::int64_t class_count_ = 0;
  std::vector<std::string> skipped_;
};

}  // namespace patchdiff
