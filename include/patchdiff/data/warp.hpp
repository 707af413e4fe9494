// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// A part of an image: where it is cut, and its size.
struct ImagePart {
  Place place{};
  ImageSize size{};
};

/// Resamples an image once by an affine map: pixel (row, column) of the result shows the image at map(row, column).
///
/// Between pixels by cubic convolution, which is exact for polynomials of degree 2; a map of whole numbers that does
/// not shrink moves pixels as they are. Where the map shrinks the image s times along an axis, a binomial low-pass of
/// variance (s^2 - 1) / 4 pixels^2 along that axis comes first: with the image's own pixels, of half a pixel's
/// deviation, it makes pixels of the result's size. Beyond its border the image is mirrored at the outer pixels.
/// Source: Keys, "Cubic convolution interpolation for digital image processing" (1981); Heckbert, "Fundamentals of
/// texture mapping and image warping" (1989), section 3.5, for the footprint.
class Warp {
 public:
  /// A map from a patch's pixels to those of the image.
  ///
  /// Errors: DataError for a map that shrinks more than 16 times, or leads further than 10^12 pixels.
  Warp(ImageSize image, const PixelMap& map, ImageSize patch) : image_(image), map_(map), patch_(patch) {
    make_taps();
    double reach_row = 0, reach_column = 0;
    for (const Tap& tap : taps_) {
      reach_row = std::max(reach_row, std::abs(tap.row));
      reach_column = std::max(reach_column, std::abs(tap.column));
    }
    const auto last_row = static_cast<double>(patch.height - 1), last_column = static_cast<double>(patch.width - 1);
    const auto rows =
        std::minmax({map.row(0, 0), map.row(0, last_column), map.row(last_row, 0), map.row(last_row, last_column)});
    const auto columns = std::minmax(
        {map.column(0, 0), map.column(0, last_column), map.column(last_row, 0), map.column(last_row, last_column)});
    for (const double position : {rows.first, rows.second, columns.first, columns.second}) {
      if (!(std::abs(position) <= 1e12)) {
        refuse<DataError>("Warp", "map", "positions within 1e12 pixels", str(position));
      }
    }
    const Range vertical = folded(rows.first, rows.second, reach_row, image.height);
    const Range horizontal = folded(columns.first, columns.second, reach_column, image.width);
    reads_ = {Place::at(vertical.first, horizontal.first), {vertical.count(), horizontal.count()}};
  }

  /// The part of the image that the patch is made of.
  const ImagePart& reads() const noexcept { return reads_; }

  /// Writes the patch [C, h, w] from the pixels [C, H', W'] of a part of the image that holds what it is made of.
  ///
  /// Errors: ShapeError for a part that does not, or for values of another number.
  void operator()(std::span<const float> values, const ImagePart& part, std::span<float> out) const {
    check(values, part, out);
    whole_ ? move(values, part, out) : resample(values, part, out);
  }

 private:
  /// A point of the low-pass, in pixels of the image from where the map leads.
  struct Tap {
    double row = 0, column = 0, weight = 1;
  };

  struct Range {
    std::int64_t first = 0, last = 0;
    std::int64_t count() const noexcept { return last - first + 1; }
  };

  /// Four neighbours along an axis, numbered within the part, and their shares.
  struct Cubic {
    std::array<std::int64_t, 4> at{};
    std::array<double, 4> share{};
    Cubic(double position, std::int64_t extent, std::int64_t first) {
      const double below = std::floor(position), t = position - below;
      share = {((2 - t) * t - 1) * t / 2, ((3 * t - 5) * t * t + 2) / 2, ((4 - 3 * t) * t + 1) * t / 2,
               (t - 1) * t * t / 2};
      for (std::size_t i = 0; i < 4; ++i) {
        at[i] = fold(static_cast<std::int64_t>(below) - 1 + static_cast<std::int64_t>(i), extent) - first;
      }
    }
  };

  /// The pixel that one beyond the border mirrors.
  static std::int64_t fold(std::int64_t index, std::int64_t extent) noexcept {
    if (index >= 0 && index < extent) return index;
    if (extent == 1) return 0;
    const std::int64_t period = 2 * (extent - 1);
    const std::int64_t within = ((index % period) + period) % period;
    return std::min(within, period - within);
  }

  /// The pixels that lie around positions between these, or that those beyond the border mirror.
  Range folded(double lowest, double highest, double reach, std::int64_t extent) const {
    const std::int64_t around = whole_ ? 0 : 1;
    const std::int64_t begin = static_cast<std::int64_t>(std::floor(lowest - reach)) - around;
    const std::int64_t end = static_cast<std::int64_t>(std::floor(highest + reach)) + 2 * around;
    if (end - begin >= 2 * extent) return {0, extent - 1};
    Range range{extent - 1, 0};
    for (std::int64_t index = begin; index <= end; ++index) {
      range.first = std::min(range.first, fold(index, extent));
      range.last = std::max(range.last, fold(index, extent));
    }
    return range;
  }

  /// The squares of how far the map shrinks are the eigenvalues of J J^T, J the map's matrix; its axes the vectors.
  void make_taps() {
    const double a = map_.row_from_row, b = map_.row_from_column, c = map_.column_from_row, d = map_.column_from_column;
    const double rows = a * a + b * b, columns = c * c + d * d, mixed = a * c + b * d;
    const double mean = (rows + columns) / 2, spread = std::hypot((rows - columns) / 2, mixed);
    if (!(mean + spread <= 16 * 16)) {
      refuse<DataError>("Warp", "map", "one that shrinks at most 16 times", str(std::sqrt(mean + spread)));
    }
    const double turn = std::atan2(mixed, (rows - columns) / 2) / 2;
    const std::vector<double> longest = low_pass(mean + spread), shortest = low_pass(mean - spread);
    const double long_step = step(mean + spread), short_step = step(mean - spread);
    for (std::size_t i = 0; i < longest.size(); ++i) {
      for (std::size_t j = 0; j < shortest.size(); ++j) {
        const double along = (static_cast<double>(i) - static_cast<double>(longest.size() - 1) / 2) * long_step;
        const double across = (static_cast<double>(j) - static_cast<double>(shortest.size() - 1) / 2) * short_step;
        taps_.push_back({along * std::cos(turn) - across * std::sin(turn),
                         along * std::sin(turn) + across * std::cos(turn), longest[i] * shortest[j]});
      }
    }
    const auto is_whole = [](double value) { return value == std::nearbyint(value); };
    whole_ = taps_.size() == 1 && is_whole(a) && is_whole(b) && is_whole(c) && is_whole(d) &&
             is_whole(map_.row_offset) && is_whole(map_.column_offset);
  }

  /// How many steps of at most sqrt(1/2) pixels the low-pass has; even, so that its middle lies where the map leads.
  static std::int64_t steps(double shrink_squared) noexcept {
    return shrink_squared > 1 + 1e-9 ? 2 * static_cast<std::int64_t>(std::ceil(shrink_squared - 1)) : 0;
  }

  static double step(double shrink_squared) noexcept {
    const std::int64_t count = steps(shrink_squared);
    return count > 0 ? std::sqrt((shrink_squared - 1) / static_cast<double>(count)) : 0;
  }

  /// Binomial shares: n steps of length l have the variance n l^2 / 4.
  static std::vector<double> low_pass(double shrink_squared) {
    std::vector<double> shares{1};
    for (std::int64_t count = steps(shrink_squared); count > 0; --count) {
      shares.push_back(0);
      for (std::size_t i = shares.size() - 1; i > 0; --i) shares[i] = (shares[i] + shares[i - 1]) / 2;
      shares[0] /= 2;
    }
    return shares;
  }

  void check(std::span<const float> values, const ImagePart& part, std::span<float> out) const {
    const ImagePart& needed = reads_;
    if (part.place.top > needed.place.top || part.place.left > needed.place.left ||
        part.place.top + part.size.height < needed.place.top + needed.size.height ||
        part.place.left + part.size.width < needed.place.left + needed.size.width) {
      const auto text = [](const ImagePart& of) {
        return str(to_string(of.size), " at top ", of.place.top, ", left ", of.place.left);
      };
      refuse<ShapeError>("Warp", "part", str("one that holds ", text(needed)), text(part));
    }
    const auto pixels = static_cast<std::size_t>(pixel_count(part.size));
    if (values.empty() || values.size() % pixels != 0) {
      refuse<ShapeError>("Warp", "values", str("a multiple of ", pixels, " values"), str(values.size()));
    }
    const std::size_t expected = values.size() / pixels * static_cast<std::size_t>(pixel_count(patch_));
    if (out.size() != expected) {
      refuse<ShapeError>("Warp", "out", str(expected, " values"), str(out.size()));
    }
  }

  /// Calls `write(pixel, row, column)` for each pixel of the patch with the place that it shows.
  template <class Write>
  void for_each_pixel(Write&& write) const {
    std::size_t pixel = 0;
    for (std::int64_t r = 0; r < patch_.height; ++r) {
      for (std::int64_t c = 0; c < patch_.width; ++c) {
        const auto row = static_cast<double>(r), column = static_cast<double>(c);
        write(pixel++, map_.row(row, column), map_.column(row, column));
      }
    }
  }

  void move(std::span<const float> values, const ImagePart& part, std::span<float> out) const {
    const auto from = static_cast<std::size_t>(pixel_count(part.size)),
               to = static_cast<std::size_t>(pixel_count(patch_));
    for_each_pixel([&](std::size_t pixel, double row, double column) {
      const std::int64_t top = fold(static_cast<std::int64_t>(row), image_.height) - part.place.top;
      const std::int64_t left = fold(static_cast<std::int64_t>(column), image_.width) - part.place.left;
      const auto at = static_cast<std::size_t>(top * part.size.width + left);
      for (std::size_t plane = 0; plane * to < out.size(); ++plane) out[plane * to + pixel] = values[plane * from + at];
    });
  }

  void resample(std::span<const float> values, const ImagePart& part, std::span<float> out) const {
    const auto from = static_cast<std::size_t>(pixel_count(part.size)),
               to = static_cast<std::size_t>(pixel_count(patch_));
    std::vector<double> sums(out.size() / to);
    for_each_pixel([&](std::size_t pixel, double row, double column) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (const Tap& tap : taps_) {
        const Cubic y(row + tap.row, image_.height, part.place.top);
        const Cubic x(column + tap.column, image_.width, part.place.left);
        for (std::size_t plane = 0; plane < sums.size(); ++plane) {
          const float* image = values.data() + plane * from;
          double sum = 0;
          for (std::size_t i = 0; i < 4; ++i) {
            const float* line = image + y.at[i] * part.size.width;
            sum += y.share[i] * (x.share[0] * line[x.at[0]] + x.share[1] * line[x.at[1]] + x.share[2] * line[x.at[2]] +
                                 x.share[3] * line[x.at[3]]);
          }
          sums[plane] += tap.weight * sum;
        }
      }
      for (std::size_t plane = 0; plane < sums.size(); ++plane)
        out[plane * to + pixel] = static_cast<float>(sums[plane]);
    });
  }

  ImageSize image_;
  PixelMap map_;
  ImageSize patch_;
  std::vector<Tap> taps_{};
  bool whole_ = false;  ///< whether pixels are moved as they are
  ImagePart reads_{};
};

}  // namespace patchdiff
