// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/sampling/tiling_options.hpp>

namespace patchdiff {

/// What WindowAxis is made of: windows of `length` pixels, at least 1, along an axis of `extent`, at least as many.
struct WindowAxisOptions {
  std::int64_t extent = 0;
  std::int64_t length = 0;
  std::int64_t overlap = 0;  ///< 0 to length - 1; for windows that overlap
  std::int64_t shift = 0;    ///< of the grid, 0 to length - 1; for windows side by side
  Fusion fusion = Fusion::uniform;
};

/// Equally long windows along one axis of an image, and the share of each of their pixels in the fused image.
///
/// Shares along both axes multiply, and those of all windows over a pixel add up to 1. Windows that would reach over
/// the border are moved inwards, as most models know no frame around their images (PaDIS pads instead); of those that
/// lie side by side, only what lies on the grid counts. Source: MultiDiffusion (arXiv 2302.08113), equation 5,
/// overlapping windows; PaDIS (arXiv 2406.02462), section 3, windows on a shifted grid.
class WindowAxis {
 public:
  /// Errors: ConfigError for settings that cannot work.
  explicit WindowAxis(const WindowAxisOptions& options) : extent_(options.extent), length_(options.length) {
    require_within("length", length_, 1, extent_);
    require_within("overlap", options.overlap, 0, length_ - 1);
    require_within("shift", options.shift, 0, length_ - 1);
    if (extent_ == length_) {
      add(0, {0, extent_}, options);
    } else if (options.fusion == Fusion::shifted) {
      for (std::int64_t tile = -options.shift; tile < extent_; tile += length_) {
        const Span counted{std::max<std::int64_t>(tile, 0), std::min(tile + length_, extent_)};
        add(std::clamp<std::int64_t>(tile, 0, extent_ - length_), counted, options);
      }
    } else {
      const std::int64_t stride = length_ - options.overlap, last = extent_ - length_;
      for (std::int64_t first = 0; first < last; first += stride) add(first, {first, first + length_}, options);
      add(last, {last, extent_}, options);
    }
    normalise();
  }

  std::int64_t extent() const noexcept { return extent_; }
  std::int64_t length() const noexcept { return length_; }
  std::size_t count() const noexcept { return first_.size(); }

  /// Where a window begins.
  std::int64_t first(std::size_t window) const { return first_[window]; }

  /// The share of each of a window's pixels, from its first to its last.
  const std::vector<double>& shares(std::size_t window) const { return shares_[window]; }

  /// Whether what a window adds begins or ends at a pixel: one value per pixel, true between it and the one before.
  const std::vector<bool>& borders() const noexcept { return borders_; }

 private:
  struct Span {
    std::int64_t begin, end;
  };

  static void require_within(std::string_view argument, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value >= least && value <= most) return;
    refuse<ConfigError>("WindowAxis", argument, str(least, " to ", most), str(value));
  }

  void add(std::int64_t first, Span counted, const WindowAxisOptions& options) {
    std::vector<double> weights(static_cast<std::size_t>(length_), 0.0);
    for (std::int64_t pixel = counted.begin; pixel < counted.end; ++pixel) {
      const std::int64_t inside = std::min(pixel - first, first + length_ - 1 - pixel);
      const double ramp = static_cast<double>(inside + 1) / static_cast<double>(options.overlap + 1);
      weights[static_cast<std::size_t>(pixel - first)] =
          options.fusion == Fusion::feathered ? std::min(1.0, ramp) : 1.0;
    }
    first_.push_back(first);
    shares_.push_back(std::move(weights));
    borders_.resize(static_cast<std::size_t>(extent_));
    for (const std::int64_t border : {counted.begin, counted.end}) {
      if (border > 0 && border < extent_) borders_[static_cast<std::size_t>(border)] = true;
    }
  }

  void normalise() {
    std::vector<double> sums(static_cast<std::size_t>(extent_), 0.0);
    const auto each = [&](const auto& f) {
      for (std::size_t window = 0; window < count(); ++window) {
        for (std::size_t index = 0; index < shares_[window].size(); ++index) {
          f(shares_[window][index], sums[static_cast<std::size_t>(first_[window]) + index]);
        }
      }
    };
    each([](double share, double& sum) { sum += share; });
    each([](double& share, double sum) { share /= sum; });
  }

  std::int64_t extent_;
  std::int64_t length_;
  std::vector<std::int64_t> first_{};
  std::vector<std::vector<double>> shares_{};
  std::vector<bool> borders_{};
};

}  // namespace patchdiff
