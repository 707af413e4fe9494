// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string_view>
#include <vector>

#include <patchdiff/core/describe.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/sampling/tiling_plan.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

static_assert(Described<TilingPlan>);

/// A thousand bytes a pixel.
TilingRequest request(std::int64_t budget) {
  return {.image = {300, 256},
          .budget = budget,
          .largest_window = {64, 64},
          .size_divisor = 4,
          .window_bytes = [](ImageSize window) { return 1000 * pixel_count(window); }};
}

TEST_CASE("a plan keeps to budget, calls and divisor, and leaves no room") {
  for (const std::int64_t budget : {256'000, 1'100'000, 4'096'000, 9'000'000, 1'000'000'000}) {
    for (const double calls : {1.0, 1.3, 1.8, 2.5, 6.0}) {
      TilingRequest wanted = request(budget);
      wanted.calls_per_pixel = calls;
      const TilingPlan plan = plan_tiling(wanted);
      CAPTURE(to_string(plan));
      const TilingOptions& tiling = plan.tiling;
      const std::int64_t one = 1000 * pixel_count(tiling.window);
      CHECK(tiling.window.height % 4 == 0);
      CHECK(tiling.overlap % 4 == 0);
      CHECK(plan.bytes == tiling.chunk * one);
      CHECK(plan.bytes <= budget);
      CHECK(tiling.chunk <= plan.windows);
      CHECK((plan.bytes + one > budget || tiling.chunk == plan.windows));
      CHECK((4 * one > budget || tiling.window == ImageSize{64, 64}));
      CHECK((plan.calls_per_pixel <= calls || tiling.overlap == 0));
    }
  }
  const TilingPlan plan = plan_tiling(request(10'000'000));
  CHECK(plan.tiling.window == ImageSize{64, 64});
  CHECK(plan.tiling.overlap == 4);
  CHECK(plan.windows == 5 * 5);
  CHECK(to_string(plan) ==
        "25 windows of 64x64, feathered, overlap 4: 1.33 calls per pixel, 2 windows a call in 7.8 MiB");
  std::vector<std::string_view> keys;
  describe(plan, [&](std::string_view key, const auto&, std::string_view) { keys.push_back(key); });
  CHECK(keys == std::vector<std::string_view>{"window", "overlap", "chunk", "windows", "calls_per_pixel", "bytes"});
}

TEST_CASE("a plan's windows shrink to the budget, and its error names the least that works") {
  CHECK(plan_tiling(request(4'095'999)).tiling.window == ImageSize{32, 32});
  CHECK(plan_tiling(request(256'000)).tiling.window == ImageSize{16, 16});
  CHECK_ERROR(ConfigError, "plan_tiling: budget: expected at least 256000 bytes, for one window of 16x16, got 255999",
              plan_tiling(request(255'999)));
}

TEST_CASE("a plan on a shifted grid counts the windows of the worst shift") {
  TilingRequest wanted = request(1'000'000'000);
  wanted.fusion = Fusion::shifted;
  const TilingPlan plan = plan_tiling(wanted);
  CHECK(plan.tiling.overlap == 0);
  CHECK(plan.windows == 6 * 5);
  wanted.calls_per_pixel = 10;
  CHECK(plan_tiling(wanted).tiling.overlap == 0);
}

TEST_CASE("plan_tiling refuses what cannot work") {
  const auto with = [](auto change) {
    TilingRequest wanted = request(10'000'000);
    change(wanted);
    return plan_tiling(wanted);
  };
  CHECK_ERROR(ConfigError, "plan_tiling: largest_window: expected 1x1 to 300x256, the image, got 64x260",
              with([](TilingRequest& wanted) {
                wanted.largest_window = {64, 260};
              }));
  CHECK_ERROR(ConfigError, "plan_tiling: largest_window: expected sides divisible by 4, got 64x62",
              with([](TilingRequest& wanted) {
                wanted.largest_window = {64, 62};
              }));
  CHECK_ERROR(ConfigError, "plan_tiling: calls_per_pixel: expected at least 1, got 0.5",
              with([](TilingRequest& wanted) { wanted.calls_per_pixel = 0.5; }));
  CHECK_ERROR(ConfigError, "plan_tiling: size_divisor: expected at least 1, got 0",
              with([](TilingRequest& wanted) { wanted.size_divisor = 0; }));
  CHECK_ERROR(ConfigError, "plan_tiling: least_side: expected at least 1, got 0",
              with([](TilingRequest& wanted) { wanted.least_side = 0; }));
  CHECK_ERROR(ConfigError, "plan_tiling: window_bytes: expected a function, got none",
              with([](TilingRequest& wanted) { wanted.window_bytes = nullptr; }));
  CHECK_ERROR(ConfigError, "plan_tiling: window_bytes: expected at least 1 byte, got 0",
              with([](TilingRequest& wanted) { wanted.window_bytes = [](ImageSize) { return std::int64_t{0}; }; }));
}

TEST_CASE("the seam score compares jumps across borders with those elsewhere") {
  using B = host::SpanBackend<double>;
  const WindowAxis axis({.extent = 130, .length = 10});
  const WindowGrid grid{axis, WindowAxis({.extent = 4, .length = 2})};
  // Rows rise by 1, by 3 across borders; columns by 2 everywhere.
  std::vector<double> values;
  double height = 0;
  for (int row = 0; row < 130; ++row) {
    if (row > 0) height += row % 10 == 0 ? 3 : 1;
    for (int column = 0; column < 4; ++column) values.push_back(height - 2 * column);
  }
  const SeamScore score = seam_score<B>(tensor<B>({1, 1, 130, 4}, values), grid);
  CHECK(score.rows == Approx(3));
  CHECK(score.columns == Approx(1));
  CHECK(to_string(score) == "seams 3.0000 between rows, 1.0000 between columns");
  CHECK(to_string(TilingReport{.seams = score}) == to_string(TilingPlan{}) + "; " + to_string(score));
  // The only border lies between two of the bands that are read.
  const WindowGrid halves{WindowAxis({.extent = 128, .length = 64}), WindowAxis({.extent = 1, .length = 1})};
  std::vector<double> halved;
  for (int row = 0; row < 128; ++row) halved.push_back(row < 64 ? row : row + 4);
  CHECK(seam_score<B>(tensor<B>({1, 1, 128, 1}, halved), halves).rows == Approx(5));
  const WindowGrid whole{WindowAxis({.extent = 130, .length = 130}), WindowAxis({.extent = 4, .length = 4})};
  CHECK(seam_score<B>(tensor<B>({1, 1, 130, 4}, values), whole).rows == 1);
  const SeamScore constant = seam_score<B>(filled<B>({1, 1, 130, 4}, 0.5), grid);
  CHECK(constant.rows == 1);
  CHECK(constant.columns == 1);
  CHECK_ERROR(ShapeError, "seam_score: images: expected images of 130x4, as the grid's, got [1, 1, 4, 130]",
              seam_score<B>(tensor<B>({1, 1, 4, 130}, values), grid));
}

}  // namespace
}  // namespace patchdiff
