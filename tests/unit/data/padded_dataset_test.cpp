// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/padded_dataset.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include <patchdiff/core/places.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/normalized_dataset.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

static_assert(LabelledDataset<PaddedDataset<ArrayDataset>> && !RegionDataset<PaddedDataset<ArrayDataset>>);
static_assert(RegionDataset<PaddedDataset<MappedArray>> && !LabelledDataset<PaddedDataset<MappedArray>>);
static_assert(LabelledDataset<AnyDataset> && RegionDataset<AnyDataset>);

/// Two images of two channels, 2x3 pixels each.
std::vector<std::uint8_t> bytes() {
  std::vector<std::uint8_t> all;
  for (int at = 0; at < 24; ++at) all.push_back(static_cast<std::uint8_t>(10 * at + 1));
  return all;
}

MappedArray mapped(const TemporaryFolder& folder) {
  const std::vector<std::uint8_t> all = bytes();
  return {folder.add("array", {reinterpret_cast<const char*>(all.data()), all.size()}),
          {.count = 2, .image = {2, 2, 3}}};
}

TEST_CASE("PaddedDataset puts images on the middle of black") {
  const ArrayDataset stored({.shape = {2, 2, 3}, .pixels = bytes(), .labels = {1, 0}});
  const PaddedDataset images(stored, {5, 4});
  CHECK(images.size() == 2);
  CHECK(images.shape() == ImageShape{2, 5, 4});
  CHECK(images.class_count() == 2);
  CHECK(images.label(0) == 1);
  std::vector<float> image(40), plain(12);
  images.read(1, image);
  stored.read(1, plain);
  for (std::int64_t channel = 0; channel < 2; ++channel) {
    for (std::int64_t row = 0; row < 5; ++row) {
      for (std::int64_t column = 0; column < 4; ++column) {
        CAPTURE(channel, row, column);
        const bool on_image = row >= 1 && row < 3 && column < 3;
        CHECK(image[static_cast<std::size_t>((channel * 5 + row) * 4 + column)] ==
              (on_image ? plain[static_cast<std::size_t>((channel * 2 + row - 1) * 3 + column)] : -1));
      }
    }
  }
  CHECK_ERROR(ShapeError, "PaddedDataset: out: expected 40 values, got 12", images.read(1, plain));
  CHECK_ERROR(ConfigError, "PaddedDataset: size: expected at least 2x3, got 2x2", PaddedDataset(stored, {2, 2}));
}

TEST_CASE("patches of a PaddedDataset are those of its images, with zeros outside") {
  const TemporaryFolder folder;
  const MappedArray stored = mapped(folder);
  const ImageSize size = GENERATE(ImageSize{5, 4}, ImageSize{2, 3});
  const PaddedDataset images(stored, size);
  using B = host::SpanBackend<float>;
  B::Tensor whole = B::zeros({1, 2, size.height, size.width}, {});
  images.read(1, whole.values);
  for (std::int64_t top = -3; top <= 5; ++top) {
    for (std::int64_t left = -3; left <= 4; ++left) {
      std::vector<float> patch(2 * 3 * 2);
      images.read_patch(1, Place::at(top, left), {3, 2}, patch);
      const B::Tensor expected = B::crop(whole, Places::repeated({3, 2}, Place::at(top, left), 1));
      CHECK(std::equal(patch.begin(), patch.end(), expected.values.begin(), expected.values.end()));
    }
  }
}

TEST_CASE("AnyDataset is the data set that it holds") {
  const TemporaryFolder folder;
  const AnyDataset labelled(ArrayDataset({.shape = {2, 2, 3}, .pixels = bytes(), .labels = {1, 0}}));
  const AnyDataset regions(mapped(folder));
  CHECK(labelled.size() == 2);
  CHECK(labelled.shape() == ImageShape{2, 2, 3});
  CHECK(labelled.class_count() == 2);
  CHECK(labelled.label(0) == 1);
  CHECK(regions.class_count() == 0);
  std::vector<float> first(12), second(12), patch(2);
  labelled.read(1, first);
  regions.read(1, second);
  CHECK(first == second);
  regions.read_patch(1, Place::at(1, 2), {1, 1}, patch);
  CHECK(patch == std::vector<float>{second[5], second[11]});

  // A data set around it knows whether it reads parts.
  CHECK(has_regions(regions));
  CHECK(has_regions(AnyDataset(PaddedDataset(regions, {4, 4}))));
  CHECK(has_regions(NormalizedDataset(regions, {.mean = {0, 0}, .deviation = {1, 1}})));
  CHECK_FALSE(has_regions(PaddedDataset(labelled, {4, 4})));
  CHECK_ERROR(ConfigError,
              "AnyDataset: source: expected a data set that reads parts of images, got one that reads them whole",
              labelled.read_patch(0, Place::at(0, 0), {1, 1}, patch));
  CHECK_ERROR(DataError, "AnyDataset: labels: expected labels, got none", regions.label(0));
}

}  // namespace
}  // namespace patchdiff
