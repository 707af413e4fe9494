// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include <png.h>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/io/png_error.hpp>

namespace patchdiff {

/// One reading of a PNG by libpng; `read_picture` is the function to call.
///
/// libpng reports an error by longjmp: as for PngEncoder, nothing with a destructor lives where it lands.
class PngDecoder {
 public:
  static constexpr std::string_view format = "PNG";
  /// First bytes of such a file.
  static constexpr std::array<std::uint8_t, 8> signature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

  /// The stream stands at the start of the file, and is the caller's.
  explicit PngDecoder(std::FILE* stream)
      : stream_(stream),
        png_(png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &error_, PngError::on_error, PngError::on_warning, this,
                                      on_allocate, on_free)) {
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc{};
    }
  }

  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  /// Reads up to the pixels; false after an error.
  bool read_header() noexcept {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, on_read);
    png_read_info(png_, info_);
    return true;
  }

  /// What is neither grey nor RGB in the picture; empty where it is one of the two.
  std::string_view misfit() const noexcept {
    const int colours = png_get_color_type(png_, info_);
    if (colours == PNG_COLOR_TYPE_PALETTE) return "a palette";
    if ((colours & PNG_COLOR_MASK_ALPHA) != 0) return "an alpha channel";
    if (png_get_valid(png_, info_, PNG_INFO_tRNS) != 0) return "a transparent colour";
    return {};
  }

  ImageShape shape() const noexcept {
    return {png_get_channels(png_, info_), png_get_image_height(png_, info_), png_get_image_width(png_, info_)};
  }

  /// Reads the rest of the file, the values as of DecodedPicture; false after an error.
  bool decode(std::span<std::uint16_t> values) {
    std::vector<png_bytep> rows(png_get_image_height(png_, info_));
    const std::size_t stride = values.size() / rows.size();
    for (std::size_t row = 0; row < rows.size(); ++row) {
      rows[row] = reinterpret_cast<png_bytep>(values.data() + row * stride);
    }
    return read_rows(rows.data());
  }

  bool out_of_memory() const noexcept { return out_of_memory_; }
  const char* message() const noexcept { return error_.message(); }

 private:
  bool read_rows(png_bytepp rows) noexcept {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_expand_16(png_);
    if constexpr (std::endian::native == std::endian::little) png_set_swap(png_);
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  static void on_read(png_structp png, png_bytep to, std::size_t size) {
    const auto& self = *static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (std::fread(to, 1, size, self.stream_) != size) png_error(png, "the file ends early");
  }

  static png_voidp on_allocate(png_structp png, png_alloc_size_t size) {
    void* memory = std::malloc(size);
    if (memory == nullptr) static_cast<PngDecoder*>(png_get_mem_ptr(png))->out_of_memory_ = true;
    return memory;
  }

  static void on_free(png_structp, png_voidp memory) { std::free(memory); }

  std::FILE* stream_;
  bool out_of_memory_ = false;
  PngError error_{};
  png_structp png_;
  png_infop info_ = nullptr;
};

}  // namespace patchdiff
