// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/decoded_picture.hpp>
#include <patchdiff/io/jpeg_decoder.hpp>
#include <patchdiff/io/png_decoder.hpp>

namespace patchdiff {

/// What `read_picture` refuses by a file's header, before it takes memory for the picture.
struct PictureLimits {
  std::int64_t pixels = std::int64_t{1} << 26;  ///< height times width: 8192x8192, which takes 400 MB in RGB
};

/// A picture's file that is being read; `read_picture` is the function to call.
class PictureFile {
 public:
  PictureFile(const std::filesystem::path& path, PictureLimits limits)
      : path_(path.string()), limits_(limits), stream_(std::fopen(path_.c_str(), "rb"), std::fclose) {
    if (stream_ == nullptr) refuse_to_read();
  }

  ImageShape shape() { return read(false).shape; }
  DecodedPicture picture() { return read(true); }

 private:
  DecodedPicture read(bool pixels) {
    std::array<std::uint8_t, 8> bytes{};
    const std::size_t count = std::fread(bytes.data(), 1, bytes.size(), stream_.get());
    if (std::ferror(stream_.get()) != 0) refuse_to_read();
    std::rewind(stream_.get());
    const std::span<const std::uint8_t> start = std::span(bytes).first(count);
    if (starts_with(start, PngDecoder::signature)) return decode<PngDecoder>(pixels);
    if (starts_with(start, JpegDecoder::signature)) return decode<JpegDecoder>(pixels);
    std::string letters;
    for (const std::uint8_t byte : start) letters += ' ' + padded(byte, 2, 16);
    refuse_picture("a PNG or JPEG file", start.empty() ? "an empty file" : str("one that starts with", letters));
  }

  template <class Decoder>
  DecodedPicture decode(bool pixels) {
    Decoder decoder(stream_.get());
    if (!decoder.read_header()) refuse_damage(decoder);
    if (!decoder.misfit().empty()) refuse_picture("a grey or RGB picture", decoder.misfit());
    DecodedPicture picture{.shape = decoder.shape()};
    if (pixel_count(picture.shape.size()) > limits_.pixels) {
      refuse_picture(str("at most ", limits_.pixels, " pixels"), to_string(picture.shape.size()));
    }
    if (!pixels) return picture;
    picture.values.resize(static_cast<std::size_t>(value_count(picture.shape)));
    if (!decoder.decode(picture.values)) refuse_damage(decoder);
    return picture;
  }

  static bool starts_with(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> signature) noexcept {
    return bytes.size() >= signature.size() && std::equal(signature.begin(), signature.end(), bytes.begin());
  }

  [[noreturn]] void refuse_picture(std::string_view expected, std::string_view got) const {
    refuse<DataError>("read_picture", path_, expected, got);
  }

  [[noreturn]] void refuse_to_read() const {
    const std::error_code reason{errno, std::generic_category()};
    refuse<FileError>("read_picture", path_, "a readable file", str('"', reason.message(), '"'));
  }

  /// A machine's trouble is none of the file's: whoever skips damaged files must not skip this one.
  template <class Decoder>
  [[noreturn]] void refuse_damage(const Decoder& decoder) const {
    if (std::ferror(stream_.get()) != 0) refuse_to_read();
    if (decoder.out_of_memory()) throw std::bad_alloc{};
    refuse_picture(str("a sound ", Decoder::format, " file"), str('"', decoder.message(), '"'));
  }

  std::string path_;
  PictureLimits limits_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream_;
};

/// Reads a grey or RGB picture from a PNG or JPEG file, told apart by how it starts, whatever its name.
///
/// Values come as they are stored: colour profiles, gamma and EXIF's orientation are not applied. Palettes, alpha,
/// transparent colours and CMYK are refused.
/// Errors: FileError if the file cannot be read; DataError, naming it, unless it is whole, sound and within the limits.
inline DecodedPicture read_picture(const std::filesystem::path& path, PictureLimits limits = {}) {
  return PictureFile(path, limits).picture();
}

/// The shape of the picture that `read_picture` would give, from the file's header alone.
///
/// Errors: as of `read_picture`, as far as the header shows them.
inline ImageShape read_picture_shape(const std::filesystem::path& path, PictureLimits limits = {}) {
  return PictureFile(path, limits).shape();
}

}  // namespace patchdiff
