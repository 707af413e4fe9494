// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/warp.hpp>

#include "support/catch.hpp"
#include "support/cosine_images.hpp"
#include "support/errors.hpp"

namespace patchdiff {
namespace {

std::vector<float> warped(const std::vector<float>& values, ImageSize image, const PixelMap& map, ImageSize patch) {
  std::vector<float> out(values.size() / static_cast<std::size_t>(pixel_count(image)) *
                         static_cast<std::size_t>(pixel_count(patch)));
  Warp(image, map, patch)(values, {Place::at(0, 0), image}, out);
  return out;
}

/// The pixel that is seen after so many steps from the first, turning back at the borders.
std::int64_t bounced(std::int64_t steps, std::int64_t extent) {
  std::int64_t at = 0, direction = steps < 0 ? -1 : 1;
  for (std::int64_t step = 0; step != steps && extent > 1; step += steps < 0 ? -1 : 1) {
    if (at + direction < 0 || at + direction >= extent) direction = -direction;
    at += direction;
  }
  return at;
}

/// A value of `f(channel, row, column)` for each pixel.
template <class F>
std::vector<float> image_of(std::int64_t channels, ImageSize size, F&& f) {
  std::vector<float> values;
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    for (std::int64_t row = 0; row < size.height; ++row) {
      for (std::int64_t column = 0; column < size.width; ++column) {
        values.push_back(static_cast<float>(f(channel, row, column)));
      }
    }
  }
  return values;
}

/// A map that turns by `angle` and shrinks by `down` and `across` about the image's middle.
PixelMap turned_and_shrunk(ImageSize image, double angle, double down, double across) {
  const double c = std::cos(angle), s = std::sin(angle);
  const double row = static_cast<double>(image.height - 1) / 2, column = static_cast<double>(image.width - 1) / 2;
  const PixelMap linear{.row_from_row = c * down,
                        .row_from_column = s * across,
                        .column_from_row = -s * down,
                        .column_from_column = c * across};
  return PixelMap{.row_offset = row, .column_offset = column}.after(
      linear.after({.row_offset = -row, .column_offset = -column}));
}

TEST_CASE("maps of whole numbers move pixels as they are") {
  const auto number = [](std::int64_t channel, std::int64_t row, std::int64_t column) {
    return 1000 * channel + 100 * row + column;
  };
  for (const ImageSize image : {ImageSize{5, 4}, ImageSize{1, 3}, ImageSize{6, 1}, ImageSize{1, 1}}) {
    const std::vector<float> values = image_of(2, image, number);
    for (const std::array<double, 4>& turn : {std::array<double, 4>{1, 0, 0, 1},
                                              {1, 0, 0, -1},
                                              {-1, 0, 0, 1},
                                              {-1, 0, 0, -1},
                                              {0, 1, 1, 0},
                                              {0, -1, 1, 0},
                                              {0, 1, -1, 0},
                                              {0, -1, -1, 0}}) {
      for (const double shift : {0, 3, -2, 17}) {
        for (const ImageSize patch : {image, ImageSize{3, 2}, ImageSize{7, 11}}) {
          const PixelMap map{turn[0], turn[1], shift, turn[2], turn[3], 1 - shift};
          const std::vector<float> expected =
              image_of(2, patch, [&](std::int64_t channel, std::int64_t r, std::int64_t c) {
                const auto row = static_cast<double>(r), column = static_cast<double>(c);
                return number(channel, bounced(static_cast<std::int64_t>(map.row(row, column)), image.height),
                              bounced(static_cast<std::int64_t>(map.column(row, column)), image.width));
              });
          CHECK(warped(values, image, map, patch) == expected);
        }
      }
    }
  }
}

TEST_CASE("values are those of the place that the map tells, inside of the image and mirrored outside") {
  const CosineImages source;
  const auto& [height, width] = source.image;
  for (const double angle : {0.0, 0.3, 1.0, 2.5, -1.2}) {
    // The low-pass takes 1 - exp(-k^2 (s^2 - 1) / 8) of a wave of k radians a pixel: 0.2 % here.
    for (const auto& [down, across] : {std::array{1.0, 1.0}, {0.4, 0.7}, {1.0, 1.9}, {1.5, 0.5}, {2.0, 2.0}}) {
      const PixelMap map = turned_and_shrunk(source.image, angle, down, across);
      const ImageSize patch{50, 30};
      const std::vector<float> got = warped(source.pixels(), source.image, map, patch);
      double worst = 0;
      std::size_t at = 0;
      for (std::int64_t channel = 0; channel < 3; ++channel) {
        for (std::int64_t r = 0; r < patch.height; ++r) {
          for (std::int64_t c = 0; c < patch.width; ++c) {
            const auto row = static_cast<double>(r), column = static_cast<double>(c);
            const double value = cosine_value(channel, normalised_position(map.column(row, column), width),
                                              normalised_position(map.row(row, column), height));
            worst = std::max(worst, std::abs(static_cast<double>(got[at++]) - value));
          }
        }
      }
      CAPTURE(angle, down, across);
      CHECK(worst < (std::max(down, across) > 1 ? 4e-3 : 1e-4));
    }
  }
}

TEST_CASE("polynomials of degree 2 are met exactly where nothing shrinks, of degree 1 everywhere") {
  const ImageSize image{40, 40};
  for (const double shrink : {0.6, 1.0, 1.7}) {
    for (const double angle : {0.0, 0.4, 2.0}) {
      const double square = shrink > 1 ? 0 : 0.01;
      const auto f = [&](double row, double column) {
        return 3 + 0.2 * row - 0.1 * column + square * (row * row - 2 * row * column);
      };
      const std::vector<float> values = image_of(1, image, [&](std::int64_t, std::int64_t row, std::int64_t column) {
        return f(static_cast<double>(row), static_cast<double>(column));
      });
      const PixelMap map = turned_and_shrunk(image, angle, shrink, shrink);
      const std::vector<float> got = warped(values, image, map, image);
      double worst = 0;
      for (std::int64_t r = 0; r < image.height; ++r) {
        for (std::int64_t c = 0; c < image.width; ++c) {
          const double row = map.row(static_cast<double>(r), static_cast<double>(c));
          const double column = map.column(static_cast<double>(r), static_cast<double>(c));
          if (std::min(row, column) < 5 || std::max(row, column) > 34) continue;
          worst = std::max(worst,
                           std::abs(static_cast<double>(got[static_cast<std::size_t>(r * 40 + c)]) - f(row, column)));
        }
      }
      CAPTURE(shrink, angle, worst);
      CHECK(worst < 1e-5);
    }
  }
}

TEST_CASE("shrinking keeps what the result's pixels can hold and takes out what would alias") {
  const ImageSize image{4, 256};
  const auto amplitude = [&](double frequency, double shrink) {
    // A wave along x, shrunk; by its largest value, away from the borders.
    const std::vector<float> wave = image_of(1, image, [&](std::int64_t, std::int64_t, std::int64_t column) {
      return std::cos(2 * std::numbers::pi * frequency * static_cast<double>(column));
    });
    const PixelMap map{.column_from_column = shrink, .column_offset = 20.25};
    const std::vector<float> got = warped(wave, image, map, {1, static_cast<std::int64_t>(200 / shrink)});
    return std::max(*std::max_element(got.begin(), got.end()), -*std::min_element(got.begin(), got.end()));
  };
  for (const double shrink : {1.5, 2.0, 3.0, 5.0}) {
    CAPTURE(shrink);
    CHECK(amplitude(0.1 / shrink, shrink) > 0.92F);
    CHECK(amplitude(1 / shrink, shrink) < (shrink < 2 ? 0.12F : 0.03F));
    const double between = 0.3 / shrink;
    const double low_pass =
        std::exp(-std::numbers::pi * std::numbers::pi * between * between * (shrink * shrink - 1) / 2);
    CHECK(std::abs(static_cast<double>(amplitude(between, shrink)) - low_pass) < 0.07);
  }
  CHECK(amplitude(0.5, 1.0) > 0.5F);
}

TEST_CASE("a patch is made of the part that the warp names, bit for bit") {
  const ImageSize image{31, 40};
  std::vector<float> values(static_cast<std::size_t>(2 * pixel_count(image)));
  RandomStream({1}, Purpose::probe, 0, 0).normals(std::span(values));
  for (std::uint64_t number = 0; number < 200; ++number) {
    const RandomStream stream({2}, Purpose::probe, number, 0);
    const PixelMap map =
        turned_and_shrunk(image, 6 * stream.uniform(0), 0.4 + 2 * stream.uniform(1), 0.4 + 2 * stream.uniform(2))
            .after(Place::at(static_cast<std::int64_t>(stream.below(60, 3)) - 20,
                             static_cast<std::int64_t>(stream.below(80, 4)) - 20)
                       .to_image);
    const ImageSize patch{3, 5};
    const Warp warp(image, map, patch);
    const Place place = warp.reads().place;
    const ImageSize size = warp.reads().size;
    REQUIRE(place.top >= 0);
    REQUIRE(place.left >= 0);
    REQUIRE(place.top + size.height <= image.height);
    REQUIRE(place.left + size.width <= image.width);
    const std::vector<float> part = image_of(2, size, [&](std::int64_t channel, std::int64_t row, std::int64_t column) {
      return values[static_cast<std::size_t>((channel * image.height + place.top + row) * image.width + place.left +
                                             column)];
    });
    std::vector<float> out(2 * 3 * 5);
    warp(part, warp.reads(), out);
    CHECK(out == warped(values, image, map, patch));
  }
  const PixelMap flipped = PixelMap::mirrored(40).after(Place::at(10, 12).to_image);
  CHECK(Warp(image, flipped, {4, 5}).reads().size == ImageSize{4, 5});
  CHECK(Warp(image, PixelMap{.row_offset = 10.5, .column_offset = 9.5}, {4, 5}).reads().size == ImageSize{7, 8});
}

TEST_CASE("Warp refuses what does not fit") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_ERROR(DataError, "Warp: map: expected one that shrinks at most 16 times, got 17",
              Warp({20, 20}, {.row_from_row = 17}, {4, 3}));
  CHECK_ERROR(DataError, "Warp: map: expected one that shrinks at most 16 times, got nan",
              Warp({20, 20}, {.column_from_row = nan}, {4, 3}));
  CHECK_ERROR(DataError, "Warp: map: expected positions within 1e12 pixels, got -2000000000000",
              Warp({20, 20}, {.row_offset = -2e12}, {4, 3}));
  CHECK_ERROR(DataError, "Warp: map: expected positions within 1e12 pixels, got nan",
              Warp({20, 20}, {.column_offset = nan}, {4, 3}));
  CHECK_ERROR(DataError, "Warp: map: expected positions within 1e12 pixels, got inf",
              Warp({20, 20}, {.column_offset = std::numeric_limits<double>::infinity()}, {4, 3}));
  const Warp warp({20, 20}, Place::at(5, 6).to_image, {4, 3});
  std::vector<float> values(20 * 20), out(12);
  CHECK_ERROR(ShapeError, "Warp: part: expected one that holds 4x3 at top 5, left 6, got 4x3 at top 5, left 7",
              warp(values, {Place::at(5, 7), {4, 3}}, out));
  CHECK_ERROR(ShapeError, "Warp: values: expected a multiple of 400 values, got 399",
              warp(std::span(values).first(399), {Place::at(0, 0), {20, 20}}, out));
  CHECK_ERROR(ShapeError, "Warp: out: expected 12 values, got 11",
              warp(values, {Place::at(0, 0), {20, 20}}, std::span(out).first(11)));
}

}  // namespace
}  // namespace patchdiff
