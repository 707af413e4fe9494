// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/patch/coord_encoder.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"
#include "support/vector_backend.hpp"

namespace patchdiff {
namespace {

using B = VectorBackend<double>;
using Values = std::vector<double>;

Values coordinates(ImageSize image, ImageSize patch, const Place& place) {
  return CoordEncoder<B>(image)(Places{patch, {place}}, {}).values;
}

TEST_CASE("coordinates run from -1 to 1, x before y") {
  const Values x{-1, -0.5, 0, 0.5, 1, -1, -0.5, 0, 0.5, 1, -1, -0.5, 0, 0.5, 1};
  const Values y{-1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1};
  Values expected = x;
  expected.insert(expected.end(), y.begin(), y.end());
  CHECK(coordinates({3, 5}, {3, 5}, Place::at(0, 0)) == expected);
  const B::Tensor two = CoordEncoder<B>({3, 5})(Places{{1, 2}, {Place::at(0, 0), Place::at(2, 3)}}, {});
  CHECK(two.shape == Shape{2, 2, 1, 2});
  CHECK(two.values == Values{-1, -0.5, -1, -1, 0.5, 1, 1, 1});
  CHECK(CoordEncoder<B>({3, 5}).channels() == 2);
  CHECK(CoordEncoder<B>({3, 5}).image() == ImageSize{3, 5});
}

TEST_CASE("the outer pixels are exact at every size, in float too") {
  using F = VectorBackend<float>;
  for (std::int64_t side = 2; side <= 600; ++side) {
    const Place last = Place::at(side - 1, side - 1);
    REQUIRE(coordinates({side, side}, {1, 1}, Place::at(0, 0)) == Values{-1, -1});
    REQUIRE(coordinates({side, side}, {1, 1}, last) == Values{1, 1});
    REQUIRE(CoordEncoder<F>({side, side})(Places{{1, 1}, {last}}, {}).values == std::vector<float>{1, 1});
  }
}

TEST_CASE("along an axis of one pixel the coordinate is 0") {
  CHECK(coordinates({1, 3}, {1, 3}, Place::at(0, 0)) == Values{-1, 0, 1, 0, 0, 0});
  CHECK(coordinates({3, 1}, {3, 1}, Place::at(0, 0)) == Values{0, 0, 0, -1, 0, 1});
  CHECK(coordinates({1, 1}, {1, 1}, Place::at(0, 0)) == Values{0, 0});
}

TEST_CASE("a window has the coordinates of that part of the image") {
  const ImageSize image{7, 9}, window{3, 4};
  const Values whole = coordinates(image, image, Place::at(0, 0));
  for (std::int64_t top = 0; top + window.height <= image.height; ++top) {
    for (std::int64_t left = 0; left + window.width <= image.width; ++left) {
      const B::Tensor part = B::crop(tensor<B>({1, 2, 7, 9}, whole), Places{window, {Place::at(top, left)}});
      REQUIRE(coordinates(image, window, Place::at(top, left)) == part.values);
    }
  }
}

TEST_CASE("flipped and turned patches keep the coordinates of the pixels that they show") {
  const ImageSize image{3, 5};
  const PixelMap mirrored{.column_from_column = -1, .column_offset = 4};
  CHECK(coordinates(image, {1, 5}, {.to_image = mirrored}) == Values{1, 0.5, 0, -0.5, -1, -1, -1, -1, -1, -1});
  const PixelMap turned{.row_from_row = 0, .row_from_column = 1, .column_from_row = 1, .column_from_column = 0};
  CHECK(coordinates(image, {2, 3}, {.to_image = turned}) == Values{-1, -1, -1, -0.5, -0.5, -0.5,  //
                                                                   -1, 0, 1, -1, 0, 1});
  const PixelMap halved{.row_from_row = 0.5, .column_from_column = 0.5, .column_offset = 1};
  CHECK(coordinates(image, {1, 3}, {.to_image = halved}) == Values{-0.5, -0.25, 0, -1, -1, -1});
}

TEST_CASE("CoordEncoder refuses images without pixels") {
  CHECK_ERROR(ConfigError, "CoordEncoder: image: expected at least one pixel, got 0x4", CoordEncoder<B>({0, 4}));
  CHECK_ERROR(ConfigError, "CoordEncoder: image: expected at least one pixel, got 4x-1", CoordEncoder<B>({4, -1}));
}

}  // namespace
}  // namespace patchdiff
