// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/sampling/window_axis.hpp>

#include "support/catch.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

std::vector<std::int64_t> starts(const WindowAxis& axis) {
  std::vector<std::int64_t> all;
  for (std::size_t window = 0; window < axis.count(); ++window) all.push_back(axis.first(window));
  return all;
}

std::vector<std::int64_t> borders(const WindowAxis& axis) {
  std::vector<std::int64_t> all;
  for (std::size_t pixel = 0; pixel < axis.borders().size(); ++pixel) {
    if (axis.borders()[pixel]) all.push_back(static_cast<std::int64_t>(pixel));
  }
  return all;
}

using Pixels = std::vector<std::int64_t>;

TEST_CASE("windows inside, and shares that add up to 1, for every extent, length, overlap and shift") {
  for (std::int64_t length = 1; length <= 6; ++length) {
    for (std::int64_t extent = length; extent <= 17; ++extent) {
      for (const Fusion fusion : {Fusion::uniform, Fusion::feathered, Fusion::shifted}) {
        for (std::int64_t moved = 0; moved < length; ++moved) {
          CAPTURE(extent, length, name_of(fusion), moved);
          const bool shifted = fusion == Fusion::shifted;
          const WindowAxis axis({.extent = extent,
                                 .length = length,
                                 .overlap = shifted ? 0 : moved,
                                 .shift = shifted ? moved : 0,
                                 .fusion = fusion});
          std::vector<double> sums(static_cast<std::size_t>(extent), 0.0);
          bool inside = true, sound = true;
          for (std::size_t window = 0; window < axis.count(); ++window) {
            inside = inside && axis.first(window) >= 0 && axis.first(window) + length <= extent;
            REQUIRE(inside);
            sound = sound && axis.shares(window).size() == static_cast<std::size_t>(length);
            for (std::size_t index = 0; index < axis.shares(window).size(); ++index) {
              const double share = axis.shares(window)[index];
              sound = sound && share >= 0 && (!shifted || share == 0 || share == 1);
              sums[static_cast<std::size_t>(axis.first(window)) + index] += share;
            }
          }
          CHECK(sound);
          for (const double sum : sums) CHECK(sum == Approx(1).margin(1e-15));
        }
      }
    }
  }
}

TEST_CASE("the last of overlapping windows is moved inwards") {
  const WindowAxis even({.extent = 12, .length = 6, .overlap = 3}), uneven({.extent = 13, .length = 6, .overlap = 2});
  CHECK(starts(even) == Pixels{0, 3, 6});
  CHECK(borders(even) == Pixels{3, 6, 9});
  CHECK(starts(uneven) == Pixels{0, 4, 7});
  CHECK(borders(uneven) == Pixels{4, 6, 7, 10});
  CHECK(starts(WindowAxis({.extent = 6, .length = 6, .overlap = 5})) == Pixels{0});
}

TEST_CASE("feathered windows rise over their overlap") {
  const WindowAxis axis({.extent = 10, .length = 6, .overlap = 2, .fusion = Fusion::feathered});
  // Weights 1/3, 2/3 and 1 before they are divided by their sum, which is 1/3 alone at the image's border.
  const std::vector<double> expected{1, 1, 1, 1, 2. / 3, 1. / 3};
  for (std::size_t index = 0; index < 6; ++index) CHECK(axis.shares(0)[index] == Approx(expected[index]));
}

TEST_CASE("a shifted grid covers each pixel once, by windows that are moved inside") {
  const WindowAxis axis({.extent = 10, .length = 4, .shift = 3, .fusion = Fusion::shifted});
  CHECK(starts(axis) == Pixels{0, 1, 5, 6});
  CHECK(borders(axis) == Pixels{1, 5, 9});
  CHECK(axis.shares(0) == std::vector<double>{1, 0, 0, 0});
  CHECK(axis.shares(3) == std::vector<double>{0, 0, 0, 1});
  CHECK(starts(WindowAxis({.extent = 4, .length = 4, .shift = 3, .fusion = Fusion::shifted})) == Pixels{0});
}

TEST_CASE("WindowAxis refuses settings that cannot work") {
  const auto make = [](const WindowAxisOptions& options) { return WindowAxis(options); };
  CHECK_ERROR(ConfigError, "WindowAxis: overlap: expected 0 to 3, got 4",
              make({.extent = 10, .length = 4, .overlap = 4}));
  CHECK_ERROR(ConfigError, "WindowAxis: overlap: expected 0 to 3, got -1",
              make({.extent = 10, .length = 4, .overlap = -1}));
  CHECK_ERROR(ConfigError, "WindowAxis: length: expected 1 to 3, got 4", make({.extent = 3, .length = 4}));
  CHECK_ERROR(ConfigError, "WindowAxis: length: expected 1 to 10, got 0", make({.extent = 10}));
  CHECK_ERROR(ConfigError, "WindowAxis: shift: expected 0 to 3, got 4",
              make({.extent = 10, .length = 4, .shift = 4, .fusion = Fusion::shifted}));
}

}  // namespace
}  // namespace patchdiff
