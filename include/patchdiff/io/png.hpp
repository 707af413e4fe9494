// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <png.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/atomic_file.hpp>
#include <patchdiff/io/picture.hpp>
#include <patchdiff/io/png_error.hpp>

namespace patchdiff {

/// One use of libpng; `encode_png` is the function to call.
///
/// libpng reports an error by longjmp, which skips destructors: it lands in `run`, and from there on down nothing that
/// has a destructor is alive. The buffer and libpng's structs belong to this object, outside of the jump.
class PngEncoder {
 public:
  PngEncoder()
      : png_(png_create_write_struct(PNG_LIBPNG_VER_STRING, &error_, PngError::on_error, PngError::on_warning)) {
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_write_struct(&png_, nullptr);
      throw std::bad_alloc{};
    }
  }

  PngEncoder(const PngEncoder&) = delete;
  PngEncoder& operator=(const PngEncoder&) = delete;
  ~PngEncoder() { png_destroy_write_struct(&png_, &info_); }

  /// False after an error of libpng.
  bool run(const Picture& picture, const std::vector<png_text>& text) noexcept {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_write_fn(png_, this, on_write, nullptr);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(picture.shape.width),
                 static_cast<png_uint_32>(picture.shape.height), 8,
                 picture.shape.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_text(png_, info_, text.data(), static_cast<int>(text.size()));
    png_write_info(png_, info_);
    const auto stride = static_cast<std::size_t>(picture.shape.width * picture.shape.channels);
    for (std::size_t offset = 0; offset < picture.pixels.size(); offset += stride) {
      png_write_row(png_, picture.pixels.data() + offset);
    }
    png_write_end(png_, nullptr);
    return true;
  }

  std::vector<std::byte> take_bytes() noexcept { return std::move(bytes_); }
  const char* message() const noexcept { return error_.message(); }

 private:
  static void on_write(png_structp png, png_bytep data, std::size_t size) {
    if (!static_cast<PngEncoder*>(png_get_io_ptr(png))->append(data, size)) png_error(png, "out of memory");
  }

  bool append(const png_byte* data, std::size_t size) noexcept {
    try {
      const auto* first = reinterpret_cast<const std::byte*>(data);
      bytes_.insert(bytes_.end(), first, first + size);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  PngError error_{};
  png_structp png_;
  png_infop info_ = nullptr;
  std::vector<std::byte> bytes_{};
};

/// Encodes a picture as an 8-bit grey or RGB PNG; `text` becomes one uncompressed iTXt chunk per key.
///
/// Equal arguments give equal bytes with the same libpng and zlib.
/// Errors: ShapeError for an empty picture, other channels or a wrong number of pixels; DataError for a key that is not
/// 1 to 79 printable ASCII characters with single inner spaces, for a zero byte in a text, and for what libpng refuses.
inline std::vector<std::byte> encode_png(const Picture& picture, const std::map<std::string, std::string>& text = {}) {
  const auto& [channels, height, width] = picture.shape;
  if ((channels != 1 && channels != 3) || height < 1 || width < 1 || height > PNG_UINT_31_MAX ||
      width > PNG_UINT_31_MAX) {
    refuse<ShapeError>("encode_png", "picture", "1 or 3 channels and at least one pixel", to_string(picture.shape));
  }
  const auto count = static_cast<std::uint64_t>(height) * static_cast<std::uint64_t>(width * channels);
  if (picture.pixels.size() != count) {
    refuse<ShapeError>("encode_png", "picture", str(count, " bytes of pixels"), str(picture.pixels.size()));
  }

  std::vector<png_text> chunks;
  for (const auto& [key, value] : text) {
    const bool printable =
        std::all_of(key.begin(), key.end(), [](char letter) { return letter >= ' ' && letter <= '~'; });
    if (key.empty() || key.size() > 79 || !printable || key.front() == ' ' || key.back() == ' ' ||
        key.find("  ") != std::string::npos) {
      refuse<DataError>("encode_png", "text", "keys of 1 to 79 printable characters, single spaces inside",
                        str('"', key, '"'));
    }
    if (value.find('\0') != std::string::npos) {
      refuse<DataError>("encode_png", "text", str("a text for \"", key, "\" without zero bytes"), "one");
    }
    png_text chunk{};
    chunk.compression = PNG_ITXT_COMPRESSION_NONE;
    chunk.key = const_cast<char*>(key.c_str());
    chunk.text = const_cast<char*>(value.c_str());
    chunk.itxt_length = value.size();
    chunks.push_back(chunk);
  }

  PngEncoder encoder;
  if (!encoder.run(picture, chunks)) {
    refuse<DataError>("encode_png", "picture", "one that libpng can write", str('"', encoder.message(), '"'));
  }
  return encoder.take_bytes();
}

/// Writes a picture as a PNG file that appears when it is whole; see `encode_png` and AtomicFile.
inline void write_png(const std::filesystem::path& path, const Picture& picture,
                      const std::map<std::string, std::string>& text = {}) {
  const std::vector<std::byte> bytes = encode_png(picture, text);
  AtomicFile file{path, "write_png"};
  file.write(bytes);
  file.commit();
}

}  // namespace patchdiff
