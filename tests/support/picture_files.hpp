// SPDX-License-Identifier: Apache-2.0
// The bytes of PNG and JPEG files of any kind, for tests of readers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs it
#include <cstdlib>
#include <string>
#include <string_view>

#include <jpeglib.h>
#include <zlib.h>

inline std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

/// A chunk of a PNG with its length and checksum.
inline std::string png_chunk(std::string_view type, std::string_view content) {
  const std::string body = std::string(type) + std::string(content);
  const auto sum = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<std::uint32_t>(content.size())) + body + big_endian(static_cast<std::uint32_t>(sum));
}

/// What the header of a PNG says; colours: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
struct PngKind {
  std::uint32_t height = 1;
  std::uint32_t width = 1;
  char depth = 8;
  char colours = 0;
  bool interlaced = false;
};

/// A PNG of these rows, each with its filter byte before it; `chunks` stand between the header and the pixels.
inline std::string png_file(const PngKind& kind, const std::string& rows, const std::string& chunks = {}) {
  std::string packed(compressBound(static_cast<uLong>(rows.size())), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()),
           static_cast<uLong>(rows.size()));
  packed.resize(size);
  const std::string header = big_endian(kind.width) + big_endian(kind.height) + kind.depth + kind.colours +
                             std::string(2, '\0') + (kind.interlaced ? '\1' : '\0');
  return "\x89PNG\r\n\x1A\n" + png_chunk("IHDR", header) + chunks + png_chunk("IDAT", packed) + png_chunk("IEND", "");
}

/// A JPEG of these samples, [H, W, C] row by row: 1 channel is grey, 3 RGB, 4 CMYK.
inline std::string jpeg_file(std::uint32_t height, std::uint32_t width, int channels, std::string samples,
                             int quality = 95, bool progressive = false) {
  jpeg_compress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_height = height;
  jpeg.image_width = width;
  jpeg.input_components = channels;
  jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  while (jpeg.next_scanline < height) {
    JSAMPROW row = reinterpret_cast<JSAMPROW>(samples.data()) +
                   std::size_t{jpeg.next_scanline} * width * static_cast<std::size_t>(channels);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string file(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return file;
}
