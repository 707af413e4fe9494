// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/patch/patch_sampler.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;

PatchPlan plan_of(ImageSize patch, std::uint64_t step = 0) { return {.patch = patch, .step = step, .key = {42}}; }

/// Images [N, C, H, W] whose pixels say where they are: 10^6 n + 10^4 c + 100 row + column, below `offset`.
B::Tensor numbered(const Shape& shape, double offset = 0) {
  std::vector<double> values;
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    for (std::int64_t c = 0; c < shape[1]; ++c) {
      for (std::int64_t row = 0; row < shape[2]; ++row) {
        for (std::int64_t column = 0; column < shape[3]; ++column) {
          values.push_back(offset + static_cast<double>(n * 1'000'000 + c * 10'000 + row * 100 + column));
        }
      }
    }
  }
  return tensor<B>(shape, values);
}

// False-alarm rate: about 1e-6 for each pair of sizes.
TEST_CASE("corners are uniform over every position at which the patch fits") {
  const PatchSampler<B> crop;
  struct Sizes {
    ImageSize image, patch;
  };
  for (const auto& [image, patch] :
       {Sizes{{8, 8}, {4, 4}}, Sizes{{5, 9}, {2, 3}}, Sizes{{9, 5}, {9, 2}}, Sizes{{4, 6}, {1, 1}}}) {
    const auto rows = static_cast<std::size_t>(image.height - patch.height + 1);
    const auto columns = static_cast<std::size_t>(image.width - patch.width + 1);
    CAPTURE(rows, columns);
    constexpr std::int64_t count = 20'000;
    std::vector<double> counts(rows * columns);
    const Places places = crop.places(plan_of(patch), image, count);
    CHECK(places.patch == patch);
    REQUIRE(places.count() == count);
    std::size_t outside = 0;
    for (const Place& place : places.at) {
      const auto row = static_cast<std::size_t>(place.top), column = static_cast<std::size_t>(place.left);
      if (row < rows && column < columns && place == Place::at(place.top, place.left)) {
        ++counts[row * columns + column];
      } else {
        ++outside;
      }
    }
    CHECK(outside == 0);
    CHECK(chi_square(counts, static_cast<double>(count) / static_cast<double>(counts.size())) <
          largest_chi_square(counts.size()));
  }
}

TEST_CASE("a patch as large as the image lies at its corner") {
  CHECK(PatchSampler<B>{}.places(plan_of({5, 9}), {5, 9}, 7) == Places::whole({5, 9}, 7));
}

TEST_CASE("places depend on the step and the number of the sample, not on the split of the batch") {
  const PatchSampler<B> crop;
  const Places whole = crop.places(plan_of({2, 3}), {20, 30}, 10);
  Places parts = crop.places(plan_of({2, 3}), {20, 30}, 4);
  for (const Place& place : crop.places(plan_of({2, 3}), {20, 30}, 6, 4).at) parts.at.push_back(place);
  CHECK(parts == whole);
  CHECK(crop.places(plan_of({2, 3}, 1), {20, 30}, 10) != whole);
}

TEST_CASE("images, mask and fields are cut at the same places") {
  const PatchSampler<B> crop;
  for (const std::int64_t channels : {1, 3, 5}) {
    const ImageBatch<B> batch{.images = numbered({3, channels, 5, 9}),
                              .mask = numbered({3, 1, 5, 9}, 0.25),
                              .fields = numbered({3, 2, 5, 9}, 0.5)};
    const Places places{{2, 3}, {Place::at(0, 0), Place::at(3, 6), Place::at(1, 2)}};
    const PatchBatch<B> patches = crop(batch, places);
    CHECK(patches.places == places);
    const auto check = [&](const B::Tensor& tensor, std::int64_t expected_channels, double offset) {
      REQUIRE(tensor.shape == Shape{3, expected_channels, 2, 3});
      std::size_t wrong = 0, at = 0;
      for (std::int64_t n = 0; n < 3; ++n) {
        const Place& place = places.at[static_cast<std::size_t>(n)];
        for (std::int64_t c = 0; c < expected_channels; ++c) {
          for (std::int64_t row = 0; row < 2; ++row) {
            for (std::int64_t column = 0; column < 3; ++column) {
              const auto expected =
                  static_cast<double>(n * 1'000'000 + c * 10'000 + (place.top + row) * 100 + place.left + column);
              wrong += tensor.values[at++] != offset + expected;
            }
          }
        }
      }
      CHECK(wrong == 0);
    };
    check(patches.images, channels, 0);
    check(patches.mask.value(), 1, 0.25);
    check(patches.fields.value(), 2, 0.5);
  }
  const PatchBatch<B> alone = crop({.images = numbered({1, 1, 4, 4})}, Places{{1, 1}, {Place::at(3, 2)}});
  CHECK(B::to_host(alone.images) == std::vector<double>{302});
  CHECK_FALSE(alone.mask);
  CHECK_FALSE(alone.fields);
}

TEST_CASE("places of augmented images tell where their pixels were before") {
  const PatchSampler<B> crop;
  const PixelMap turned{0, 1, 2, -1, 0, 7};
  const Places places{{2, 3}, {Place::at(0, 0), Place::at(3, 5)}};
  const PatchBatch<B> patches =
      crop({.images = numbered({2, 1, 8, 8}), .augment_labels = filled<B>({2, 9}, 0.5), .maps = {PixelMap{}, turned}},
           places);
  CHECK(B::to_host(patches.images) == B::to_host(crop({.images = numbered({2, 1, 8, 8})}, places).images));
  CHECK(patches.places.at[0] == places.at[0]);
  CHECK(patches.places.at[1] == Place{3, 5, {0, 1, 7, -1, 0, 4}});
  CHECK(B::to_host(patches.augment_labels.value()) == std::vector<double>(18, 0.5));
}

// False-alarm rate: about 1e-6.
TEST_CASE("with padding patches reach into a frame of zeros, each place as often") {
  const PatchSampler<B> crop(2);
  constexpr std::int64_t count = 20'000;
  const ImageSize image{3, 4};
  const Places places = crop.places(plan_of({3, 3}), image, count);
  std::vector<double> counts(5 * 6);
  for (const Place& place : places.at) {
    ++counts.at(static_cast<std::size_t>((place.top + 2) * 6 + place.left + 2));
  }
  CHECK(chi_square(counts, static_cast<double>(count) / 30) < largest_chi_square(30));

  const Places corners{{3, 3}, {Place::at(-2, -2), Place::at(2, 3), Place::at(0, 1)}};
  const B::Tensor patches = crop({.images = numbered({3, 1, 3, 4}, 1)}, corners).images;
  CHECK(B::to_host(patches) == std::vector<double>{0,       0,       0,       0,       0,       0,       0, 0, 1,  //
                                                   1000204, 0,       0,       0,       0,       0,       0, 0, 0,  //
                                                   2000002, 2000003, 2000004, 2000102, 2000103, 2000104,           //
                                                   2000202, 2000203, 2000204});
  CHECK_ERROR(ShapeError, "PatchSampler: places: expected patches of 3x3 inside 3x4 padded by 2, got top -3, left 0",
              crop({.images = numbered({1, 1, 3, 4})}, Places{{3, 3}, {Place::at(-3, 0)}}));
  CHECK_ERROR(ShapeError, "PatchSampler: patch: expected at most 7x8, got 8x3", crop.places(plan_of({8, 3}), image, 1));
  CHECK_ERROR(ShapeError, "PatchSampler: patch: expected at least one pixel, got 0x3",
              crop.places(plan_of({0, 3}), image, 1));
  CHECK_ERROR(ConfigError, "PatchSampler: padding: expected at least 0, got -1", PatchSampler<B>(-1));
}

TEST_CASE("PatchSampler refuses what does not fit") {
  const PatchSampler<B> crop;
  const Places places = Places::repeated({4, 4}, Place::at(0, 0), 2);
  const B::Tensor images = filled<B>({2, 1, 8, 8}, 0);
  CHECK_ERROR(ShapeError, "PatchSampler: patch: expected at most 8x6, got 4x7",
              crop.places(plan_of({4, 7}), {8, 6}, 1));
  CHECK_ERROR(ShapeError, "PatchSampler: patch: expected at most 3x8, got 4x4",
              crop({.images = filled<B>({2, 1, 3, 8}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: images: expected rank 4, [N, C, H, W], got [2, 8, 8]",
              crop({.images = filled<B>({2, 8, 8}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: images: expected 2 samples, one per place, got [3, 1, 8, 8]",
              crop({.images = filled<B>({3, 1, 8, 8}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: mask: expected 2 samples, one per place, got [1, 1, 8, 8]",
              crop({.images = images, .mask = filled<B>({1, 1, 8, 8}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: mask: expected images of 8x8, got [2, 1, 2, 2]",
              crop({.images = images, .mask = filled<B>({2, 1, 2, 2}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: fields: expected images of 8x8, got [2, 1, 8, 9]",
              crop({.images = images, .fields = filled<B>({2, 1, 8, 9}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: fields: expected rank 4, [N, C, H, W], got [2]",
              crop({.images = images, .fields = filled<B>({2}, 0)}, places));
  CHECK_ERROR(ShapeError, "PatchSampler: maps: expected 2 maps, one per place, got 1",
              crop({.images = images, .maps = {PixelMap{}}}, places));
  using Corner = std::pair<std::int64_t, std::int64_t>;
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const auto& [top, left] :
       {Corner{5, 0}, Corner{0, 5}, Corner{-1, 0}, Corner{0, -1}, Corner{most - 1, 0}, Corner{0, most}}) {
    CHECK_ERROR(ShapeError,
                fmt::format("PatchSampler: places: expected patches of 4x4 inside 8x8, got top {}, left {}", top, left),
                crop({.images = images}, Places{{4, 4}, {Place::at(0, 0), Place::at(top, left)}}));
  }
}

}  // namespace
}  // namespace patchdiff
