// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/io/image_grid.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::ConfigError;
using patchdiff::DataError;
using patchdiff::ImageGrid;
using patchdiff::ImageShape;
using patchdiff::Picture;
using patchdiff::Shape;
using patchdiff::ShapeError;

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t W = 255;

}  // namespace

TEST_CASE("ImageGrid rounds each value to the nearest byte") {
  std::vector<float> values;
  Bytes bytes;
  for (int byte = 0; byte < 256; ++byte) {
    values.push_back(static_cast<float>(byte) / 127.5F - 1.0F);
    bytes.push_back(static_cast<std::uint8_t>(byte));
  }
  const ImageGrid grid{{.columns = 1, .margin = 0}};
  CHECK(grid(values, {1, 1, 16, 16}) == Picture{{1, 16, 16}, bytes});
  const std::vector<double> wide(values.begin(), values.end());
  CHECK(grid(wide, {1, 1, 16, 16}) == Picture{{1, 16, 16}, bytes});
}

TEST_CASE("ImageGrid clamps values beyond black and white") {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> values{-1.5, 1.5, -infinity, infinity, -1e300, 1e300};
  CHECK(ImageGrid{{.margin = 0}}(values, {1, 1, 1, 6}).pixels == Bytes{0, 255, 0, 255, 0, 255});
}

TEST_CASE("ImageGrid lays images out row by row with margins between and around them") {
  const std::vector<double> values{-1, -1, 0, 0, 1, 1};
  const Picture picture = ImageGrid{{.columns = 2, .margin = 1}}(values, {3, 1, 1, 2});
  CHECK(picture.shape == ImageShape{1, 5, 7});
  CHECK(picture.pixels == Bytes{W, W, W, W, W,   W,   W,  //
                                W, 0, 0, W, 128, 128, W,  //
                                W, W, W, W, W,   W,   W,  //
                                W, W, W, W, W,   W,   W,  //
                                W, W, W, W, W,   W,   W});
}

TEST_CASE("ImageGrid puts the channels of a pixel side by side") {
  const std::vector<float> values{-1, 1, -1, 1, 1, -1};
  CHECK(ImageGrid{{.margin = 0}}(values, {1, 3, 1, 2}) == Picture{{3, 1, 2}, {0, 0, 255, 255, 255, 0}});
}

TEST_CASE("ImageGrid enlarges by repeating pixels") {
  const std::vector<float> values{-1, 0, 0, -1};
  CHECK(ImageGrid{{.margin = 0, .scale = 2}}(values, {1, 1, 2, 2}) ==
        Picture{{1, 4, 4}, {0, 0, 128, 128, 0, 0, 128, 128, 128, 128, 0, 0, 128, 128, 0, 0}});
  CHECK(ImageGrid{{.columns = 1, .margin = 3, .scale = 5}}(values, {2, 1, 1, 2}).shape == ImageShape{1, 19, 16});
}

TEST_CASE("ImageGrid makes a shorter row of few images") {
  CHECK(ImageGrid{{.columns = 8, .margin = 0}}(std::vector<float>(12), {3, 1, 2, 2}).shape == ImageShape{1, 2, 6});
}

TEST_CASE("ImageGrid refuses options outside of their range") {
  CHECK_THROWS_MATCHES((ImageGrid{{.columns = 0}}), ConfigError,
                       Message("ImageGrid: columns: expected 1 to 65536, got 0"));
  CHECK_THROWS_MATCHES((ImageGrid{{.margin = -1}}), ConfigError,
                       Message("ImageGrid: margin: expected 0 to 65536, got -1"));
  CHECK_THROWS_MATCHES((ImageGrid{{.scale = 2000}}), ConfigError,
                       Message("ImageGrid: scale: expected 1 to 1024, got 2000"));
}

TEST_CASE("ImageGrid refuses shapes that are not of grey or RGB images") {
  const ImageGrid grid;
  const std::vector<float> values(16);
  for (const Shape& shape :
       {Shape{1, 2, 2, 4}, Shape{1, 4, 2, 2}, Shape{4, 2, 2}, Shape{}, Shape{0, 1, 4, 4}, Shape{1, 1, -4, -4}}) {
    CHECK_THROWS_MATCHES(
        grid(values, shape), ShapeError,
        Message("ImageGrid: shape: expected [N, C, H, W] with C 1 or 3, got " + patchdiff::to_string(shape)));
  }
  CHECK_THROWS_MATCHES(grid(values, {1, 1, 4, 5}), ShapeError,
                       Message("ImageGrid: images: expected 20 values, got 16"));
}

TEST_CASE("ImageGrid refuses NaN") {
  CHECK_THROWS_MATCHES(ImageGrid{}(std::vector<float>{0, 0, std::nanf(""), 0}, {1, 1, 2, 2}), DataError,
                       Message("ImageGrid: images: expected numbers, got NaN at index 2"));
}

TEST_CASE("ImageGridOptions lists its fields") {
  patchdiff::ImageGridOptions options;
  std::string keys;
  patchdiff::ImageGridOptions::describe(options, [&](const std::string& key, std::int64_t& value, const std::string&) {
    keys += key + ' ';
    ++value;
  });
  CHECK(keys == "columns margin scale ");
  CHECK(options.scale == 2);
}
