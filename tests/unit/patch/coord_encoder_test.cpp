// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/patch/coord_encoder.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Values = std::vector<double>;

Values coordinates(ImageSize image, ImageSize patch, const Place& place) {
  return B::to_host(CoordEncoder<B>(image)(Places{patch, {place}}, {}));
}

TEST_CASE("coordinates run from -1 to 1, x before y") {
  const Values x{-1, -0.5, 0, 0.5, 1, -1, -0.5, 0, 0.5, 1, -1, -0.5, 0, 0.5, 1};
  const Values y{-1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1};
  Values expected = x;
  expected.insert(expected.end(), y.begin(), y.end());
  CHECK(coordinates({3, 5}, {3, 5}, Place::at(0, 0)) == expected);
  const B::Tensor two = CoordEncoder<B>({3, 5})(Places{{1, 2}, {Place::at(0, 0), Place::at(2, 3)}}, {});
  CHECK(two.shape == Shape{2, 2, 1, 2});
  CHECK(B::to_host(two) == Values{-1, -0.5, -1, -1, 0.5, 1, 1, 1});
  CHECK(CoordEncoder<B>({3, 5}).channels() == 2);
  CHECK(CoordEncoder<B>({3, 5}).image() == ImageSize{3, 5});
}

TEST_CASE("the outer pixels are exact at every size, in float too") {
  using F = host::SpanBackend<float>;
  for (std::int64_t side = 2; side <= 600; ++side) {
    const Place last = Place::at(side - 1, side - 1);
    REQUIRE(coordinates({side, side}, {1, 1}, Place::at(0, 0)) == Values{-1, -1});
    REQUIRE(coordinates({side, side}, {1, 1}, last) == Values{1, 1});
    REQUIRE(F::to_host(CoordEncoder<F>({side, side})(Places{{1, 1}, {last}}, {})) == Values{1, 1});
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
      REQUIRE(coordinates(image, window, Place::at(top, left)) == B::to_host(part));
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

TEST_CASE("maps of what is done one after the other compose") {
  const PixelMap crop = Place::at(2, 3).to_image, mirror = PixelMap::mirrored(4);
  const PixelMap turn{.row_from_row = 0, .row_from_column = 1, .column_from_row = 1, .column_from_column = 0};
  const PixelMap all = crop.after(mirror).after(turn);
  for (const double r : {0.0, 1.0, 2.5}) {
    for (const double c : {0.0, 3.0}) {
      const double turned_row = turn.row(r, c), turned_column = turn.column(r, c);
      CHECK(all.row(r, c) == 2 + turned_row);
      CHECK(all.column(r, c) == 3 + (3 - turned_column));
    }
  }
  // A mirrored crop shows the coordinates of its pixels, mirrored too.
  const Values plain = coordinates({6, 9}, {1, 4}, Place::at(2, 3));
  const Values mirrored = coordinates({6, 9}, {1, 4}, {.top = 2, .left = 3, .to_image = crop.after(mirror)});
  CHECK(mirrored == Values{plain[3], plain[2], plain[1], plain[0], plain[4], plain[5], plain[6], plain[7]});
}

TEST_CASE("with padding the coordinates are those of the padded image") {
  const CoordEncoder<B> padded({3, 5}, {.padding = 2}), larger({7, 9});
  for (const Place& place : {Place::at(-2, -2), Place::at(0, 0), Place::at(1, 3)}) {
    const Place shifted = Place::at(place.top + 2, place.left + 2);
    CHECK(B::to_host(padded(Places{{2, 3}, {place}}, {})) == B::to_host(larger(Places{{2, 3}, {shifted}}, {})));
  }
  CHECK(B::to_host(padded(Places{{1, 1}, {Place::at(-2, -2)}}, {})) == Values{-1, -1});
  CHECK(B::to_host(padded(Places{{1, 1}, {Place::at(4, 6)}}, {})) == Values{1, 1});
}

TEST_CASE("Fourier features stand in the place of x and y") {
  const Places places{{1, 1}, {Place::at(1, 4)}};
  const double x = 0.5, y = 0;  // in an image of 3 x 5 from column 3
  const Places at_three{{1, 1}, {Place::at(1, 3)}};
  const CoordEncoder<B> octaves({3, 5}, {.fourier_frequencies = 3});
  CHECK(octaves.channels() == 12);
  Values expected;
  for (const double f : {1.0, 2.0, 4.0}) {
    for (const double value : {std::sin(f * x), std::sin(f * y), std::cos(f * x), std::cos(f * y)}) {
      expected.push_back(value);
    }
  }
  CHECK(B::to_host(octaves(at_three, {})) == expected);
  // Three even steps from 1 to 2^2.
  const CoordEncoder<B> even({3, 5}, {.fourier_frequencies = 3, .fourier_octaves = false});
  CHECK(even(at_three, {}).values[4] == std::sin(2.5 * x));
  CHECK(even(at_three, {}).values[8] == std::sin(4 * x));
  CHECK(CoordEncoder<B>({3, 5}, {.fourier_frequencies = 1, .fourier_octaves = false})(places, {}).values[0] ==
        std::sin(1.0));
}

TEST_CASE("the patch-size channel holds the patch's share of the image's side") {
  const CoordEncoder<B> encoder({8, 8}, {.patch_size_channel = true});
  CHECK(encoder.channels() == 3);
  const auto last_channel = [&](ImageSize patch) {
    const B::Tensor encoded = encoder(Places::repeated(patch, Place::at(0, 0), 2), {});
    CHECK(encoded.shape == Shape{2, 3, patch.height, patch.width});
    return encoded.values.back();
  };
  CHECK(last_channel({8, 8}) == 1);
  CHECK(last_channel({4, 4}) == 0);
  CHECK(last_channel({2, 2}) == -0.5);
  CHECK(last_channel({2, 8}) == 0);
  CHECK(CoordEncoder<B>({8, 8}, {.fourier_frequencies = 2, .patch_size_channel = true}).channels() == 9);
}

TEST_CASE("CoordEncoder refuses settings that cannot work") {
  CHECK_ERROR(ConfigError, "CoordEncoder: padding: expected at least 0, got -1",
              CoordEncoder<B>({4, 4}, {.padding = -1}));
  CHECK_ERROR(ConfigError, "CoordEncoder: fourier_frequencies: expected 0 to 32, got 33",
              CoordEncoder<B>({4, 4}, {.fourier_frequencies = 33}));
}

TEST_CASE("CoordEncoder refuses images without pixels") {
  CHECK_ERROR(ConfigError, "CoordEncoder: image: expected at least one pixel, got 0x4", CoordEncoder<B>({0, 4}));
  CHECK_ERROR(ConfigError, "CoordEncoder: image: expected at least one pixel, got 4x-1", CoordEncoder<B>({4, -1}));
}

}  // namespace
}  // namespace patchdiff
