// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/read_picture.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/picture_files.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

using Values = std::vector<std::uint16_t>;

/// A picture of slow waves, which JPEG keeps.
std::string waves(int height, int width, int channels) {
  std::string samples;
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      for (int channel = 0; channel < channels; ++channel) {
        samples += static_cast<char>(128 + 60 * std::sin(row / 5.0 + channel) + 60 * std::cos(column / 7.0));
      }
    }
  }
  return samples;
}

/// The largest difference from the samples that the file was made of, in steps of 8 bits.
int largest_error(const DecodedPicture& picture, const std::string& samples) {
  int largest = 0;
  REQUIRE(picture.values.size() == samples.size());
  for (std::size_t at = 0; at < samples.size(); ++at) {
    CHECK(picture.values[at] % 257 == 0);
    largest = std::max(largest, std::abs(picture.values[at] / 257 - static_cast<std::uint8_t>(samples[at])));
  }
  return largest;
}

struct Case {
  TemporaryFolder folder;

  DecodedPicture read(const std::string& bytes, PictureLimits limits = {}) const {
    const std::filesystem::path path = folder.add("picture", bytes);
    const DecodedPicture picture = read_picture(path, limits);
    CHECK(read_picture_shape(path, limits) == picture.shape);
    return picture;
  }

  /// That both the header's reading and the whole one refuse these bytes.
  void refuses(const std::string& bytes, const std::string& text, PictureLimits limits = {}) const {
    const std::filesystem::path path = folder.add("picture", bytes);
    const std::string message = fmt::format("read_picture: {}: {}", path.string(), text);
    CHECK_ERROR(DataError, message, read_picture(path, limits));
    CHECK_ERROR(DataError, message, read_picture_shape(path, limits));
  }

  /// That the pixels of a file with a sound header are refused.
  void refuses_pixels(const std::string& bytes, const std::string& text) const {
    const std::filesystem::path path = folder.add("picture", bytes);
    CHECK_ERROR(DataError, fmt::format("read_picture: {}: {}", path.string(), text), read_picture(path));
    CHECK_NOTHROW(read_picture_shape(path));
  }
};

TEST_CASE_METHOD(Case, "read_picture reads grey PNGs of every depth") {
  const auto grey = [](char depth, std::uint32_t width) { return PngKind{.width = width, .depth = depth}; };
  CHECK(read(png_file(grey(8, 3), std::string("\0\x00\x80\xff", 4))) ==
        DecodedPicture{{1, 1, 3}, Values{0, 0x8080, 0xffff}});
  CHECK(read(png_file(grey(16, 2), std::string("\0\x12\x34\xff\xfe", 5))) ==
        DecodedPicture{{1, 1, 2}, Values{0x1234, 0xfffe}});
  CHECK(read(png_file(grey(1, 3), std::string("\0\xA0", 2))).values == Values{0xffff, 0, 0xffff});
  CHECK(read(png_file(grey(2, 4), std::string("\0\x1B", 2))).values == Values{0, 0x5555, 0xAAAA, 0xffff});
  CHECK(read(png_file(grey(4, 2), std::string("\0\x1E", 2))).values == Values{0x1111, 0xEEEE});
}

TEST_CASE_METHOD(Case, "read_picture reads RGB and interlaced PNGs") {
  CHECK(read(png_file({.height = 2, .colours = 2}, std::string("\0\x01\x02\x03\0\x04\x05\x06", 8))) ==
        DecodedPicture{{3, 2, 1}, Values{0x101, 0x202, 0x303, 0x404, 0x505, 0x606}});
  CHECK(read(png_file({.depth = 16, .colours = 2}, std::string("\0\x01\x02\x03\x04\x05\x06", 7))) ==
        DecodedPicture{{3, 1, 1}, Values{0x102, 0x304, 0x506}});
  // Adam7's passes over 2x2 pixels: the first holds (0, 0), the sixth (0, 1), the seventh the second row.
  CHECK(read(png_file({.height = 2, .width = 2, .interlaced = true}, std::string("\0\x01\0\x02\0\x03\x04", 7))) ==
        DecodedPicture{{1, 2, 2}, Values{0x101, 0x202, 0x303, 0x404}});
}

TEST_CASE_METHOD(Case, "read_picture reads JPEGs, whatever the file's name") {
  // A flat block has one coefficient, which quality 100 keeps exactly.
  CHECK(read(jpeg_file(1, 2, 1, "\x42\x42", 100)) == DecodedPicture{{1, 1, 2}, Values{0x4242, 0x4242}});
  for (const bool progressive : {false, true}) {
    const std::string grey = waves(40, 50, 1);
    const DecodedPicture picture = read(jpeg_file(40, 50, 1, grey, 95, progressive));
    CHECK(picture.shape == ImageShape{1, 40, 50});
    CHECK(largest_error(picture, grey) <= 4);
    const std::string colours = waves(40, 50, 3);
    const DecodedPicture coloured = read(jpeg_file(40, 50, 3, colours, 95, progressive));
    CHECK(coloured.shape == ImageShape{3, 40, 50});
    CHECK(largest_error(coloured, colours) <= 10);  // colour is stored at half the resolution
  }
}

TEST_CASE_METHOD(Case, "read_picture refuses what is neither grey nor RGB") {
  const std::string palette = png_chunk("PLTE", std::string("\0\0\0\xff\xff\xff", 6));
  refuses(png_file({.colours = 3}, std::string("\0\1", 2), palette), "expected a grey or RGB picture, got a palette");
  refuses(png_file({.colours = 4}, std::string("\0\1\2", 3)), "expected a grey or RGB picture, got an alpha channel");
  refuses(png_file({.colours = 6}, std::string("\0\1\2\3\4", 5)),
          "expected a grey or RGB picture, got an alpha channel");
  refuses(png_file({}, std::string("\0\1", 2), png_chunk("tRNS", std::string("\0\1", 2))),
          "expected a grey or RGB picture, got a transparent colour");
  refuses(jpeg_file(1, 1, 4, "abcd"), "expected a grey or RGB picture, got CMYK");
}

TEST_CASE_METHOD(Case, "read_picture refuses other files, and names those that it cannot open") {
  refuses("", "expected a PNG or JPEG file, got an empty file");
  refuses("GIF", "expected a PNG or JPEG file, got one that starts with 47 49 46");
  refuses("RIFF1234WEBP", "expected a PNG or JPEG file, got one that starts with 52 49 46 46 31 32 33 34");
  CHECK_ERROR(FileError,
              fmt::format("read_picture: {}: expected a readable file, got \"No such file or directory\"",
                          (folder / "none").string()),
              read_picture(folder / "none"));
  CHECK_ERROR(FileError,
              fmt::format("read_picture: {}: expected a readable file, got \"Is a directory\"", folder.path().string()),
              read_picture(folder.path()));
}

TEST_CASE_METHOD(Case, "read_picture refuses bombs by their header") {
  // Four bytes of pixels that claim to be 10 GB; libpng itself would go along.
  refuses(png_file({.height = 99999, .width = 99999}, "bomb"), "expected at most 67108864 pixels, got 99999x99999");
  std::string jpeg = jpeg_file(8, 8, 1, waves(8, 8, 1));
  const std::size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  jpeg.replace(frame + 5, 4, "\xfe\x00\xfe\x00", 4);
  refuses(jpeg, "expected at most 67108864 pixels, got 65024x65024");

  const std::string four = png_file({.height = 2, .width = 2}, std::string(6, '\0'));
  CHECK(read(four, {.pixels = 4}).values == Values(4));
  refuses(four, "expected at most 3 pixels, got 2x2", {.pixels = 3});
}

TEST_CASE_METHOD(Case, "read_picture refuses damaged pixels, in the words of the library") {
  const std::string png = png_file({.height = 2}, std::string(4, '\0'));
  refuses_pixels(png.substr(0, png.size() - 1), "expected a sound PNG file, got \"the file ends early\"");
  refuses_pixels(png_file({.height = 2}, std::string(2, '\0')),
                 "expected a sound PNG file, got \"Not enough image data\"");
  std::string wrong_sum = png;
  wrong_sum[png.find("IEND") - 5] ^= 1;
  refuses_pixels(wrong_sum, "expected a sound PNG file, got \"IDAT: CRC error\"");

  const std::string jpeg = jpeg_file(40, 50, 1, waves(40, 50, 1));
  refuses_pixels(jpeg.substr(0, jpeg.size() - 200), "expected a sound JPEG file, got \"Premature end of JPEG file\"");
  refuses_pixels(jpeg.substr(0, jpeg.size() - 200) + "\xff\xd9",
                 "expected a sound JPEG file, got \"Corrupt JPEG data: premature end of data segment\"");
}

TEST_CASE_METHOD(Case, "read_picture refuses every beginning of a file") {
  for (const std::string& whole :
       {png_file({.height = 9, .width = 9, .colours = 2}, std::string(9 * 28, '\0')),
        png_file({.height = 2, .width = 2, .interlaced = true}, std::string(7, '\0')),
        jpeg_file(20, 20, 3, waves(20, 20, 3)), jpeg_file(20, 20, 1, waves(20, 20, 1), 90, true)}) {
    CHECK_NOTHROW(read(whole));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      CHECK_THROWS_AS(read_picture(folder.add("picture", whole.substr(0, size))), DataError);
    }
  }
}

TEST_CASE_METHOD(Case, "read_picture survives any changed byte") {
  for (const std::string& whole :
       {png_file({.height = 9, .width = 9, .depth = 16, .colours = 2}, std::string(9 * 55, '\0')),
        jpeg_file(20, 20, 3, waves(20, 20, 3)), jpeg_file(20, 20, 1, waves(20, 20, 1), 90, true)}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const int change : {0x01, 0x80, 0xff}) {
        std::string changed = whole;
        changed[at] = static_cast<char>(changed[at] ^ change);
        const std::filesystem::path path = folder.add("picture", changed);
        try {
          const DecodedPicture picture = read_picture(path, {.pixels = 1 << 20});
          CHECK(static_cast<std::int64_t>(picture.values.size()) ==
                picture.shape.channels * pixel_count(picture.shape.size()));
        } catch (const DataError& error) {
          CHECK(error.argument() == path.string());
        }
      }
    }
  }
}

}  // namespace
}  // namespace patchdiff
