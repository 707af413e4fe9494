// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs it
#include <span>
#include <string_view>
#include <vector>

#include <jerror.h>
#include <jpeglib.h>

#include <patchdiff/core/image_size.hpp>

namespace patchdiff {

/// One reading of a JPEG by libjpeg; `read_picture` is the function to call.
///
/// libjpeg's warnings (damaged data, an end that comes early) are errors here: it would fill the rest with grey. Its
/// default transform and upsampling give the same values on every machine with libjpeg-turbo. Its errors end in a
/// longjmp: as for PngEncoder, nothing with a destructor lives where it lands.
class JpegDecoder {
 public:
  static constexpr std::string_view format = "JPEG";
  /// First bytes of such a file.
  static constexpr std::array<std::uint8_t, 3> signature{0xFF, 0xD8, 0xFF};

  /// The stream stands at the start of the file, and is the caller's.
  explicit JpegDecoder(std::FILE* stream) noexcept : stream_(stream) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
  }

  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&jpeg_); }

  /// Reads up to the pixels; false after an error.
  bool read_header() noexcept {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_stdio_src(&jpeg_, stream_);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  /// What is neither grey nor RGB in the picture; empty where it is one of the two.
  std::string_view misfit() const noexcept {
    if (jpeg_.data_precision != 8) return "values of more or fewer than 8 bits";
    switch (jpeg_.jpeg_color_space) {
      case JCS_GRAYSCALE:
      case JCS_YCbCr:
      case JCS_RGB: return {};
      case JCS_CMYK:
      case JCS_YCCK: return "CMYK";
      default: return "unknown colours";
    }
  }

  ImageShape shape() const noexcept {
    return {jpeg_.jpeg_color_space == JCS_GRAYSCALE ? 1 : 3, jpeg_.image_height, jpeg_.image_width};
  }

  /// Reads the rest of the file, the values as of DecodedPicture; false after an error.
  bool decode(std::span<std::uint16_t> values) {
    std::vector<JSAMPLE> row(values.size() / jpeg_.image_height);
    return read_rows(row, values.data());
  }

  bool out_of_memory() const noexcept { return out_of_memory_; }
  const char* message() const noexcept { return message_.data(); }

 private:
  bool read_rows(std::span<JSAMPLE> row, std::uint16_t* values) noexcept {
    if (setjmp(jump_) != 0) return false;
    jpeg_.out_color_space = jpeg_.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      std::uint16_t* to = values + jpeg_.output_scanline * row.size();
      JSAMPROW samples = row.data();
      jpeg_read_scanlines(&jpeg_, &samples, 1);
      for (const JSAMPLE sample : row) *to++ = static_cast<std::uint16_t>(sample * 257);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  [[noreturn]] static void on_error(j_common_ptr jpeg) {
    auto& self = *static_cast<JpegDecoder*>(jpeg->client_data);
    self.out_of_memory_ = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    jpeg->err->format_message(jpeg, self.message_.data());
    std::longjmp(self.jump_, 1);
  }

  static void on_message(j_common_ptr jpeg, int level) {
    if (level < 0) on_error(jpeg);
  }

  std::FILE* stream_;
  bool out_of_memory_ = false;
  std::array<char, JMSG_LENGTH_MAX> message_{};
  std::jmp_buf jump_{};
  jpeg_error_mgr errors_{};
  jpeg_decompress_struct jpeg_{};
};

}  // namespace patchdiff
