// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/sampling/seam_score.hpp>
#include <patchdiff/sampling/tiling_options.hpp>
#include <patchdiff/sampling/window_axis.hpp>

namespace patchdiff {

/// What a host wants of tiled sampling.
struct TilingRequest {
  ImageSize image{};              ///< of the images to draw
  std::int64_t budget = 0;        ///< bytes that a chunk of windows may take in a call of the denoiser
  ImageSize largest_window{};     ///< tried first, then its halves; best the largest size that the model was trained on
  std::int64_t least_side = 16;   ///< windows are not halved below it
  std::int64_t size_divisor = 1;  ///< of windows' sides and overlaps, as the network's
  double calls_per_pixel = 1.5;   ///< mean number of windows over a pixel, >= 1: what overlaps may cost
  Fusion fusion = Fusion::feathered;
  std::uint64_t seed = 0;  ///< of the shifts

  /// Bytes that one call of the denoiser with one window of a size takes; a chunk of n windows takes n times that.
  /// LibTorch can tell: see `peak_torch_bytes`.
  std::function<std::int64_t(ImageSize)> window_bytes{};
};

/// What `plan_tiling` chose, and what it will take.
struct TilingPlan {
  TilingOptions tiling{};
  std::int64_t windows = 0;    ///< over the whole image; the most of any shift
  double calls_per_pixel = 0;  ///< mean number of windows over a pixel
  std::int64_t bytes = 0;      ///< of a chunk's call

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("window", self.tiling.window, "height and width of windows");
    visit("overlap", self.tiling.overlap, "pixels that neighbouring windows share");
    visit("chunk", self.tiling.chunk, "windows in one call of the denoiser");
    visit("windows", self.windows, "windows over the image");
    visit("calls_per_pixel", self.calls_per_pixel, "mean number of windows over a pixel");
    visit("bytes", self.bytes, "working memory of a chunk's call");
  }
};

/// For people, in a line.
inline std::string to_string(const TilingPlan& plan) {
  return str(plan.windows, " windows of ", to_string(plan.tiling.window), ", ", name_of(plan.tiling.fusion),
             ", overlap ", plan.tiling.overlap, ": ", fixed(plan.calls_per_pixel, 2), " calls per pixel, ",
             plan.tiling.chunk, " windows a call in ", fixed(static_cast<double>(plan.bytes) / (1 << 20), 1), " MiB");
}

/// A plan, and whether it shows in the images.
struct TilingReport {
  TilingPlan plan{};
  SeamScore seams{};
};

/// For people, in a line.
inline std::string to_string(const TilingReport& report) {
  return to_string(report.plan) + "; " + to_string(report.seams);
}

/// Chooses windows for a memory budget: the largest window of which one fits, then the largest overlap that keeps to
/// `calls_per_pixel`, at most half a window, then as many windows a call as fit.
///
/// Errors: ConfigError for a budget that no window fits, with the least that works; for windows that are larger than
/// the image, and settings that cannot work.
inline TilingPlan plan_tiling(const TilingRequest& request) {
  constexpr std::string_view component = "plan_tiling";
  const ImageSize image = request.image;
  const std::int64_t divisor = request.size_divisor;
  require<ConfigError>(divisor >= 1, component, "size_divisor", "at least 1", divisor);
  require<ConfigError>(request.least_side >= 1, component, "least_side", "at least 1", request.least_side);
  require<ConfigError>(request.calls_per_pixel >= 1, component, "calls_per_pixel", "at least 1",
                       request.calls_per_pixel);
  require<ConfigError>(bool(request.window_bytes), component, "window_bytes", "a function", "none");
  ImageSize window = request.largest_window;
  require<ConfigError>(window.height >= 1 && window.width >= 1 && fits(window, image), component, "largest_window",
                       str("1x1 to ", to_string(image), ", the image"), to_string(window));
  require<ConfigError>(window.height % divisor == 0 && window.width % divisor == 0, component, "largest_window",
                       str("sides divisible by ", divisor), to_string(window));

  std::int64_t bytes = request.window_bytes(window);
  while (bytes > request.budget) {
    const ImageSize half{window.height / 2 / divisor * divisor, window.width / 2 / divisor * divisor};
    require<ConfigError>(std::min(half.height, half.width) >= request.least_side, component, "budget",
                         str("at least ", bytes, " bytes, for one window of ", to_string(window)), request.budget);
    window = half;
    bytes = request.window_bytes(window);
  }
  require<ConfigError>(bytes >= 1, component, "window_bytes", "at least 1 byte", bytes);

  TilingPlan plan{.tiling = {.window = window, .fusion = request.fusion, .seed = request.seed}};
  const auto cover = [&](std::int64_t overlap) {
    const auto along = [&](std::int64_t extent, std::int64_t length) {
      return static_cast<std::int64_t>(
          WindowAxis(
              {.extent = extent, .length = length, .overlap = overlap, .shift = length - 1, .fusion = request.fusion})
              .count());
    };
    plan.tiling.overlap = overlap;
    plan.windows = along(image.height, window.height) * along(image.width, window.width);
    plan.calls_per_pixel = static_cast<double>(plan.windows) * static_cast<double>(pixel_count(window)) /
                           static_cast<double>(pixel_count(image));
  };
  std::int64_t overlap = std::min(window.height, window.width) / 2 / divisor * divisor;
  if (request.fusion == Fusion::shifted) overlap = 0;
  for (cover(overlap); overlap > 0 && plan.calls_per_pixel > request.calls_per_pixel;) cover(overlap -= divisor);
  plan.tiling.chunk = std::min(request.budget / bytes, plan.windows);
  plan.bytes = plan.tiling.chunk * bytes;
  return plan;
}

}  // namespace patchdiff
