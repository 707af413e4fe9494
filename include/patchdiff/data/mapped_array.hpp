// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/mapped_file.hpp>

namespace patchdiff {

/// How the values of an array lie in a file.
enum class ArrayScalar : std::uint8_t {
  uint8,    ///< read as byte / 127.5 - 1
  uint16,   ///< little-endian, read as number / 32767.5 - 1
  float32,  ///< little-endian, read as it stands
};

/// An array of images [count, C, H, W] in a file, without gaps.
struct ArrayLayout {
  std::int64_t count = 1;  ///< images
  ImageShape image{};
  ArrayScalar scalar = ArrayScalar::uint8;
  std::uint64_t offset = 0;  ///< of the first value, in bytes from the start of the file
};

/// A dataset over an array in a mapped file: only what is read of an image is touched.
///
/// Reading is safe from several threads.
class MappedArray {
 public:
  /// Errors: FileError for a file that cannot be read; ShapeError for sizes below 1; DataError for a file too short.
  MappedArray(const std::filesystem::path& path, ArrayLayout layout) : layout_(layout), file_(path, "MappedArray") {
    static_assert(std::endian::native == std::endian::little);
    const auto& [channels, height, width] = layout.image;
    if (layout.count < 1 || channels < 1 || height < 1 || width < 1) {
      refuse<ShapeError>("MappedArray", "layout", "sizes of at least 1",
                         str(layout.count, " of ", to_string(layout.image)));
    }
    // In double, as a hostile header's product may not fit; whatever a machine can map is exact.
    const double values = static_cast<double>(layout.count) * static_cast<double>(channels) *
                          static_cast<double>(height) * static_cast<double>(width);
    const double needed = values * static_cast<double>(scalar_bytes()) + static_cast<double>(layout.offset);
    if (needed > static_cast<double>(file_.bytes().size())) {
      refuse<DataError>("MappedArray", path.string(), str("at least ", fixed(needed, 0), " bytes"),
                        str(file_.bytes().size()));
    }
  }

  std::int64_t size() const noexcept { return layout_.count; }
  ImageShape shape() const noexcept { return layout_.image; }
  const ArrayLayout& layout() const noexcept { return layout_; }

  /// Writes an image as [C, H, W] floats.
  ///
  /// Errors: DataError for an index out of range; ShapeError for an `out` of another size.
  void read(std::int64_t index, std::span<float> out) const {
    read_patch(index, Place::at(0, 0), layout_.image.size(), out);
  }

  /// Writes a patch of an image as [C, h, w] floats, with zeros where it lies outside.
  ///
  /// Errors: as of `read`.
  void read_patch(std::int64_t index, const Place& place, ImageSize patch, std::span<float> out) const {
    const auto& [channels, height, width] = layout_.image;
    if (index < 0 || index >= layout_.count) {
      refuse<DataError>("MappedArray", "index", str("0 to ", layout_.count - 1), str(index));
    }
    if (static_cast<std::int64_t>(out.size()) != channels * pixel_count(patch)) {
      refuse<ShapeError>("MappedArray", "out", str(channels * pixel_count(patch), " values"), str(out.size()));
    }
    float* to = out.data();
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      for (std::int64_t row = place.top; row < place.top + patch.height; ++row) {
        for (std::int64_t column = place.left; column < place.left + patch.width; ++column) {
          const bool inside = row >= 0 && row < height && column >= 0 && column < width;
          *to++ = inside ? value(((index * channels + channel) * height + row) * width + column) : 0.0F;
        }
      }
    }
  }

 private:
  std::size_t scalar_bytes() const noexcept {
    return layout_.scalar == ArrayScalar::uint8 ? 1 : layout_.scalar == ArrayScalar::uint16 ? 2 : 4;
  }

  float value(std::int64_t index) const noexcept {
    const std::byte* at = file_.bytes().data() + layout_.offset + static_cast<std::size_t>(index) * scalar_bytes();
    if (layout_.scalar == ArrayScalar::uint8) return static_cast<float>(number<std::uint8_t>(at)) / 127.5F - 1.0F;
    if (layout_.scalar == ArrayScalar::uint16) return static_cast<float>(number<std::uint16_t>(at)) / 32767.5F - 1.0F;
    return number<float>(at);
  }

  /// The offset may be odd.
  template <class Number>
  static Number number(const std::byte* at) noexcept {
    Number value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }

  ArrayLayout layout_;
  MappedFile file_;
};

}  // namespace patchdiff
