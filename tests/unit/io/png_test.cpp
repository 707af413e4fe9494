// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/png.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/file_size_limit.hpp"
#include "support/temporary_folder.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::DataError;
using patchdiff::encode_png;
using patchdiff::Picture;
using patchdiff::ShapeError;

namespace {

/// The picture in a PNG, by libpng's own reader.
Picture decoded(const std::vector<std::byte>& bytes) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) != 0);
  CHECK((image.format == PNG_FORMAT_GRAY || image.format == PNG_FORMAT_RGB));
  Picture picture{{image.format == PNG_FORMAT_GRAY ? 1 : 3, image.height, image.width}, {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  REQUIRE(png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr) != 0);
  return picture;
}

Picture sample(std::int64_t channels, std::int64_t height, std::int64_t width) {
  Picture picture{{channels, height, width},
                  std::vector<std::uint8_t>(static_cast<std::size_t>(channels * height * width))};
  std::uint32_t state = 1;
  for (auto& pixel : picture.pixels) pixel = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return picture;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("encode_png keeps every pixel") {
  for (const std::int64_t channels : {1, 3}) {
    for (const auto& size : {patchdiff::ImageSize{1, 1}, {3, 5}, {64, 32}, {1, 700}, {200, 300}}) {
      const Picture picture = sample(channels, size.height, size.width);
      CHECK(decoded(encode_png(picture)) == picture);
    }
  }
}

TEST_CASE("encode_png stores each text as UTF-8") {
  const std::map<std::string, std::string> text{{"Seed", "7"}, {"Name of it", "caf\xC3\xA9\nline"}, {"Empty", ""}};
  const auto bytes = encode_png(sample(1, 4, 4), text);
  for (const auto& [key, value] : text) {
    const std::string chunk = "iTXt" + key + std::string(5, '\0') + value;
    CHECK(text_of(bytes).find(chunk) != std::string::npos);
  }
  CHECK(decoded(bytes) == sample(1, 4, 4));
  CHECK(text_of(encode_png(sample(1, 4, 4))).find("iTXt") == std::string::npos);
}

TEST_CASE("encode_png gives equal bytes for equal pictures") {
  CHECK(encode_png(sample(3, 50, 50), {{"a", "b"}}) == encode_png(sample(3, 50, 50), {{"a", "b"}}));
}

TEST_CASE("encode_png refuses pictures that PNG cannot hold") {
  CHECK_THROWS_MATCHES(encode_png(sample(2, 4, 4)), ShapeError,
                       Message("encode_png: picture: expected 1 or 3 channels and at least one pixel, got 2x4x4"));
  CHECK_THROWS_MATCHES(encode_png({}), ShapeError,
                       Message("encode_png: picture: expected 1 or 3 channels and at least one pixel, got 0x0x0"));
  CHECK_THROWS_MATCHES(
      encode_png({{1, 1, std::int64_t{1} << 31}, {}}), ShapeError,
      Message("encode_png: picture: expected 1 or 3 channels and at least one pixel, got 1x1x2147483648"));
  CHECK_THROWS_MATCHES(encode_png({{3, 2, 2}, std::vector<std::uint8_t>(11)}), ShapeError,
                       Message("encode_png: picture: expected 12 bytes of pixels, got 11"));
}

TEST_CASE("encode_png turns an error of libpng into an exception") {
  CHECK_THROWS_MATCHES(encode_png(sample(1, 1, 1'000'001)), DataError,
                       Message("encode_png: picture: expected one that libpng can write, got \"Invalid IHDR data\""));
}

TEST_CASE("encode_png refuses texts that PNG cannot hold") {
  for (const std::string& key : {std::string{}, std::string(80, 'k'), std::string(" k"), std::string("k "),
                                 std::string("a  b"), std::string("caf\xC3\xA9"), std::string("a\nb")}) {
    CHECK_THROWS_MATCHES(encode_png(sample(1, 1, 1), {{key, "x"}}), DataError,
                         Message(fmt::format("encode_png: text: expected keys of 1 to 79 printable characters, single "
                                             "spaces inside, got \"{}\"",
                                             key)));
  }
  CHECK_NOTHROW(encode_png(sample(1, 1, 1), {{std::string(79, 'k'), "x"}}));
  CHECK_THROWS_MATCHES(encode_png(sample(1, 1, 1), {{"k", std::string("a\0b", 3)}}), DataError,
                       Message("encode_png: text: expected a text for \"k\" without zero bytes, got one"));
}

TEST_CASE("write_png writes a whole file or none") {
  const TemporaryFolder folder;
  const auto path = folder / "a.png";
  patchdiff::write_png(path, sample(3, 8, 8), {{"k", "v"}});
  const std::string before = folder.read("a.png");
  CHECK(before == text_of(encode_png(sample(3, 8, 8), {{"k", "v"}})));
  CHECK_THROWS_MATCHES(patchdiff::write_png(folder / "none/a.png", sample(1, 1, 1)), patchdiff::FileError,
                       Message(fmt::format("write_png: {}: expected a writable folder, got \"No such file or "
                                           "directory\"",
                                           (folder / "none/a.png").string())));
#ifdef PATCHDIFF_TEST_HAS_FILE_SIZE_LIMIT
  const FileSizeLimit limit{1000};
  CHECK_THROWS_MATCHES(
      patchdiff::write_png(path, sample(3, 80, 80)), patchdiff::FileError,
      Message(fmt::format("write_png: {}: expected a complete write, got \"File too large\"", path.string())));
  CHECK(folder.read("a.png") == before);
  CHECK(folder.count() == 1);
#endif
}
