// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/sampling/heun.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/seam_score.hpp>
#include <patchdiff/sampling/tiled_denoiser.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/gaussian_denoiser.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Gaussian = GaussianDenoiser<B>;

/// Answers with the row of each pixel in the full image, and keeps how it was called.
struct RowDenoiser : Gaussian {
  mutable std::vector<Places> calls{};

  B::Tensor operator()(const B::Tensor& x, std::span<const double>, const Places& places,
                       const Conditioning<B>&) const {
    calls.push_back(places);
    const B::Tensor grid = B::coordinate_grid(places, shape.size(), {});
    const B::Tensor y = B::slice(grid, 1, 1, 1);
    return B::combine(std::vector<double>(places.at.size(), 1.0), y, std::vector<double>(places.at.size(), 0.0), x);
  }
};

/// Answers with its own number in each window: a denoiser that is not local at all.
struct CountingDenoiser : Gaussian {
  mutable double windows = 0;

  B::Tensor operator()(const B::Tensor& x, std::span<const double>, const Places& places,
                       const Conditioning<B>&) const {
    std::vector<double> numbers;
    for (std::size_t sample = 0; sample < places.at.size(); ++sample) numbers.push_back(++windows);
    return B::scale(numbers, filled<B>(B::shape(x), 1));
  }
};

TEST_CASE("windows see where they lie in the full image, in chunks") {
  const RowDenoiser rows{{.shape = {1, 9, 7}}};
  const TiledDenoiser tiled(rows, {.window = {4, 5}, .overlap = 1, .chunk = 3});
  const std::vector<double> sigma{1};
  const B::Tensor whole = tiled(filled<B>({1, 1, 9, 7}, 0), sigma, Places::whole({9, 7}, 1));
  for (std::size_t pixel = 0; pixel < 63; ++pixel) {
    CHECK(whole.values[pixel] == Approx(static_cast<double>(pixel / 7) / 4 - 1).margin(1e-12));
  }
  REQUIRE(rows.calls.size() == 2);
  CHECK(rows.calls[0] == Places{{4, 5}, {Place::at(0, 0), Place::at(0, 2), Place::at(3, 0)}});
  CHECK(rows.calls[1] == Places{{4, 5}, {Place::at(3, 2), Place::at(5, 0), Place::at(5, 2)}});

  // A part of the image that is mirrored top to bottom.
  const Place mirrored{2, 1, {.row_from_row = -1, .row_offset = 7, .column_offset = 1}};
  const B::Tensor part = tiled(filled<B>({1, 1, 6, 5}, 0), sigma, {{6, 5}, {mirrored}});
  for (std::size_t row = 0; row < 6; ++row) {
    CHECK(part.values[row * 5] == Approx((7 - static_cast<double>(row)) / 4 - 1).margin(1e-12));
  }
  REQUIRE(rows.calls.size() == 3);
  CHECK(rows.calls[2] ==
        Places{{4, 5}, {{2, 1, mirrored.to_image}, {4, 1, mirrored.to_image.after(Place::at(2, 0).to_image)}}});
}

TEST_CASE("overlapping windows are averaged, uniformly or feathered") {
  const std::vector<double> sigma{1};
  const auto row_of = [&](Fusion fusion) {
    const CountingDenoiser counting{{.shape = {1, 1, 6}}};
    const TiledDenoiser tiled(counting, {.window = {1, 4}, .overlap = 0, .fusion = fusion});
    return B::to_host(tiled(filled<B>({1, 1, 1, 6}, 0), sigma, Places::whole({1, 6}, 1)));
  };
  CHECK(row_of(Fusion::uniform) == std::vector<double>{1, 1, 1.5, 1.5, 2, 2});
  const CountingDenoiser counting{{.shape = {1, 4, 7}}};
  const TiledDenoiser tiled(counting, {.window = {4, 5}, .overlap = 3, .fusion = Fusion::feathered});
  const std::vector<double> values = B::to_host(tiled(filled<B>({1, 1, 4, 7}, 0), sigma, Places::whole({4, 7}, 1)));
  for (std::size_t row = 0; row < 4; ++row) {
    for (std::size_t column = 1; column < 7; ++column) {
      CHECK(values[row * 7 + column] >= values[row * 7 + column - 1]);
    }
  }
  CHECK(values[3] == Approx(1.5));
}

TEST_CASE("the shifted grid moves with sigma and seed, and with nothing else") {
  const Gaussian gaussian{.shape = {1, 64, 64}};
  const auto first_border = [&](double sigma, std::uint64_t seed) {
    const WindowGrid grid =
        TiledDenoiser(gaussian, {.window = {16, 16}, .fusion = Fusion::shifted, .seed = seed}).grid({64, 64}, sigma);
    const auto first = [](const WindowAxis& axis) {
      std::size_t pixel = 0;
      while (!axis.borders()[pixel]) ++pixel;
      return pixel;
    };
    return std::pair{first(grid.rows), first(grid.columns)};
  };
  std::set<std::pair<std::size_t, std::size_t>> seen;
  for (int step = 0; step < 40; ++step) {
    const double sigma = 80 * std::pow(0.8, step);
    seen.insert(first_border(sigma, 1));
    CHECK(first_border(sigma, 1) == first_border(sigma, 1));
  }
  CHECK(seen.size() > 30);  // of 40 draws among 256: 37.1 expected, false alarm below 1e-4, with a fixed seed
  CHECK(first_border(1, 1) != first_border(1, 2));
  CHECK(first_border(1, 1) != first_border(std::nextafter(1.0, 2.0), 1));
}

TEST_CASE("seams that lie elsewhere in each step leave less of a trace than seams that stay") {
  // Each window adds a constant of its own to what the pixels say: seams in every estimate.
  struct OffsetDenoiser : Gaussian {
    B::Tensor operator()(const B::Tensor& x, std::span<const double> sigma, const Places& places,
                         const Conditioning<B>& conditioning) const {
      std::vector<double> ones(places.at.size(), 1.0), offsets;
      for (const Place& place : places.at) {
        const RandomStream stream({static_cast<std::uint64_t>(place.top * 1000 + place.left)}, Purpose::place, 0, 0);
        offsets.push_back(stream.uniform(0) - 0.5);
      }
      return B::combine(ones, Gaussian::operator()(x, sigma, places, conditioning), offsets, filled<B>(B::shape(x), 1));
    }
  };
  const OffsetDenoiser offsets{{.shape = {1, 96, 96}, .deviation = 0.05}};
  const ODESampler sampler({.num_steps = 12}, Heun{});
  // The grid that stays is also where the other's seams are looked for: they are not there.
  const auto score = [&](Fusion fusion) {
    const TiledDenoiser tiled(offsets, {.window = {16, 16}, .fusion = fusion, .chunk = 7, .seed = 3});
    const TiledDenoiser still(offsets, {.window = {16, 16}, .fusion = Fusion::uniform});
    return seam_score<B>(sampler(tiled, {.seeds = {1}}), still.grid({96, 96}, 1));
  };
  const SeamScore still = score(Fusion::uniform), moving = score(Fusion::shifted);
  CHECK(still.rows > 2 * moving.rows);
  CHECK(still.columns > 2 * moving.columns);
}

TEST_CASE("a batch of tiled samples is each sample alone") {
  const Gaussian gaussian{.shape = {2, 9, 8}, .mean = 0.2};
  const TiledDenoiser tiled(gaussian, {.window = {4, 4}, .fusion = Fusion::shifted, .chunk = 2});
  const auto x = random_tensor<B>({3, 2, 9, 8}, 1);
  const std::vector<double> sigma{0.5, 1, 2};
  const B::Tensor all = tiled(x, sigma, Places::whole({9, 8}, 3));
  for (std::int64_t sample = 0; sample < 3; ++sample) {
    const std::vector<double> own{sigma[static_cast<std::size_t>(sample)]};
    CHECK(B::to_host(tiled(B::slice(x, 0, sample, 1), own, Places::whole({9, 8}, 1))) ==
          B::to_host(B::slice(all, 0, sample, 1)));
  }
}

TEST_CASE("TiledDenoiser refuses what cannot work") {
  const Gaussian gaussian{.shape = {1, 9, 8}};
  const auto make = [&](TilingOptions options) { return TiledDenoiser<Gaussian>(gaussian, options); };
  CHECK_ERROR(ConfigError, "TiledDenoiser: window: expected 1x1 to 9x8, the model's images, got 4x9",
              make({.window = {4, 9}}));
  CHECK_ERROR(ConfigError, "TiledDenoiser: window: expected 1x1 to 9x8, the model's images, got 0x0", make({}));
  CHECK_ERROR(ConfigError, "TiledDenoiser: overlap: expected 0 to less than the windows' 4x5, got 4",
              make({.window = {4, 5}, .overlap = 4}));
  CHECK_ERROR(ConfigError, "TiledDenoiser: overlap: expected 0 on a shifted grid, got 1",
              make({.window = {4, 5}, .overlap = 1, .fusion = Fusion::shifted}));
  CHECK_ERROR(ConfigError, "TiledDenoiser: chunk: expected at least 1, got 0", make({.window = {4, 5}, .chunk = 0}));
  const auto tiled = make({.window = {4, 5}});
  const std::vector<double> sigma{1};
  CHECK_ERROR(ShapeError, "TiledDenoiser: x: expected [N, C, H, W] of at least 4x5, got [1, 1, 4, 4]",
              tiled(filled<B>({1, 1, 4, 4}, 0), sigma, Places::whole({4, 4}, 1)));
  CHECK_ERROR(ShapeError, "TiledDenoiser: x: expected 1 samples, one per sigma and place, got [2, 1, 9, 8]",
              tiled(filled<B>({2, 1, 9, 8}, 0), sigma, Places::whole({9, 8}, 2)));
  CHECK_ERROR(ShapeError, "TiledDenoiser: places: expected patches of 9x8, got 9x7",
              tiled(filled<B>({1, 1, 9, 8}, 0), sigma, Places::whole({9, 7}, 1)));
  const auto told = [&](const Conditioning<B>& conditioning) {
    return tiled(filled<B>({2, 1, 9, 8}, 0), std::vector<double>{1, 1}, Places::whole({9, 8}, 2), conditioning);
  };
  for (const std::int64_t rows : {1, 3}) {
    const std::string got = fmt::format("[{}, 4]", rows);
    CHECK_ERROR(ShapeError, "TiledDenoiser: class_labels: expected 2 rows, got " + got,
                told({.class_labels = filled<B>({rows, 4}, 0)}));
    CHECK_ERROR(ShapeError, "TiledDenoiser: augment_labels: expected 2 rows, got " + got,
                told({.augment_labels = filled<B>({rows, 4}, 0)}));
  }
  for (const Shape& shape : {Shape{3, 1, 9, 8}, Shape{2, 1, 18, 16}, Shape{2, 1, 9, 9}, Shape{2, 9, 8}}) {
    CHECK_ERROR(ShapeError, "TiledDenoiser: fields: expected [2, F, 9, 8], got " + to_string(shape),
                told({.fields = filled<B>(shape, 0)}));
  }
  CHECK(B::shape(told({.class_labels = filled<B>({2, 4}, 0),
                       .fields = filled<B>({2, 3, 9, 8}, 0),
                       .augment_labels = filled<B>({2, 5}, 0)})) == Shape{2, 1, 9, 8});
}

}  // namespace
}  // namespace patchdiff
