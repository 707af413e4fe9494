// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/share.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

TEST_CASE("errors have one form, and say where they come from") {
  const ShapeError error("EDMLoss", "sigma", "8 values", "7");
  CHECK(std::string(error.what()) == "EDMLoss: sigma: expected 8 values, got 7");
  CHECK(error.component() == "EDMLoss");
  CHECK(error.argument() == "sigma");
  CHECK_ERROR(Error, "a: b: expected c, got d", throw ConfigError("a", "b", "c", "d"));
}

TEST_CASE("sizes and shapes are written height first") {
  CHECK(to_string(ImageSize{32, 64}) == "32x64");
  CHECK(to_string(ImageShape{3, 32, 64}) == "3x32x64");
  CHECK(to_string(Shape{2, 3, 4}) == "[2, 3, 4]");
  CHECK(to_string(Shape{}) == "[]");
}

TEST_CASE("sizes compare along both axes") {
  CHECK(pixel_count({4, 5}) == 20);
  CHECK(fits({4, 5}, {4, 5}));
  CHECK_FALSE(fits({5, 5}, {4, 6}));
  CHECK_FALSE(fits({4, 7}, {4, 6}));
  CHECK(ImageShape{3, 4, 5}.size() == ImageSize{4, 5});
  CHECK(element_count({2, 3, 4}) == 24);
  CHECK(element_count({}) == 1);
  CHECK(element_count({2, 0, 4}) == 0);
}

TEST_CASE("normalised positions hit -1 and 1 exactly, and are 0 along one pixel") {
  for (int extent = 2; extent < 2000; ++extent) {
    REQUIRE(normalised_position(0, extent) == -1);
    REQUIRE(normalised_position(extent - 1, extent) == 1);
  }
  CHECK(normalised_position(1, 5) == -0.5);
  CHECK(normalised_position(0, 1) == 0);
}

TEST_CASE("places are plain shifts unless they say otherwise") {
  const Place place = Place::at(2, 3);
  CHECK(place.to_image.row(1, 10) == 3);
  CHECK(place.to_image.column(10, 1) == 4);
  const PixelMap turned{
      .row_from_row = 0, .row_from_column = 1, .column_from_row = -1, .column_from_column = 0, .column_offset = 7};
  CHECK(turned.row(2, 3) == 3);
  CHECK(turned.column(2, 3) == 5);
  CHECK(Places::whole({4, 6}, 3) == Places{{4, 6}, {Place::at(0, 0), Place::at(0, 0), Place::at(0, 0)}});
}

TEST_CASE("shares of a task follow each other and differ by one at most") {
  for (const std::int64_t samples : {0, 1, 3, 8, 13}) {
    for (const int size : {1, 2, 3, 8}) {
      std::uint64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Share share = share_of(samples, rank, size);
        CHECK(share.first == next);
        CHECK((share.count == samples / size || share.count == (samples + size - 1) / size));
        next += static_cast<std::uint64_t>(share.count);
      }
      CHECK(next == static_cast<std::uint64_t>(samples));
    }
  }
}

}  // namespace
}  // namespace patchdiff
