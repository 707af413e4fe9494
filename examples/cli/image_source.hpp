// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/dataset_statistics.hpp>
#include <patchdiff/data/image_folder.hpp>

/// Which half of a data set: the names of Fashion-MNIST's files begin so.
enum class Split { train, test };

/// What happens to files of a folder that are no sound pictures.
enum class Unreadable { stop, skip };

constexpr std::array<patchdiff::NamedValue<Unreadable>, 2> value_names(Unreadable) noexcept {
  return {{{Unreadable::stop, "stop"}, {Unreadable::skip, "skip"}}};
}

/// Adds `--unreadable` to a command, which `unreadable` must outlive.
void add_unreadable(CLI::App& command, Unreadable& unreadable);

/// Images that a command line names, as they are stored.
struct ImageSource {
  patchdiff::AnyDataset images;
  std::string fingerprint{};           ///< number, size and classes of the images, and a checksum
  std::vector<std::string> skipped{};  ///< why files were left out

  /// Says on standard error which files were left out, and why.
  void tell_skipped() const;
};

/// Opens what `path` is: a folder with the IDX files of the split (named as Fashion-MNIST's, plain or gzip), a folder
/// of PNG and JPEG files (with EDM's `dataset.json` or without labels), or an NPY file.
///
/// The checksum is of all pixels and labels of IDX files; of a folder, of the names, lengths and labels of its files
/// and of 64 of them whole; of an NPY file, of its length and 256 blocks of 4 KiB. `component` and `option` are what
/// errors say. Errors: FileError where there is nothing such; what the readers throw.
ImageSource open_images(const std::filesystem::path& path, Split split, Unreadable unreadable,
                        const std::string& component, std::string_view option = "--data");

/// The test images of training images in `data`: what `test` is, or, where that is empty, the IDX files beside those of
/// training; nothing where there are none.
///
/// Errors: as of `open_images`.
std::optional<ImageSource> open_test_images(const std::filesystem::path& data, const std::filesystem::path& test,
                                            Unreadable unreadable, const std::string& component);

/// Statistics of the images, of 10,000 at most that are spread over all; of fewer where those are too large.
patchdiff::DatasetStatistics measure_some(const patchdiff::AnyDataset& images);

/// The names of a data set's classes: garments where the fingerprint is that of Fashion-MNIST's training images, else
/// numbers.
std::vector<std::string> default_class_names(const std::string& fingerprint, std::int64_t classes);
