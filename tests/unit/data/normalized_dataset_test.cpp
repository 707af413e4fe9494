// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/normalized_dataset.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/dataset_statistics.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/io/settings_json.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

static_assert(LabelledDataset<NormalizedDataset<ArrayDataset>>);
static_assert(!RegionDataset<NormalizedDataset<ArrayDataset>>);
static_assert(RegionDataset<NormalizedDataset<MappedArray>>);
static_assert(!LabelledDataset<NormalizedDataset<MappedArray>>);

/// Three images of two channels, 2x3 pixels each.
std::vector<std::uint8_t> bytes() {
  std::vector<std::uint8_t> all;
  for (int at = 0; at < 36; ++at) all.push_back(static_cast<std::uint8_t>(at * at * 7));
  return all;
}

TEST_CASE("NormalizedDataset has mean 0 and deviation 1, and undo gives the stored values") {
  const ArrayDataset stored({.shape = {2, 2, 3}, .pixels = bytes(), .labels = {0, 2, 1}});
  const Normalization normalization = Normalization::of(measure(stored));
  const NormalizedDataset images(stored, normalization);
  CHECK(images.size() == 3);
  CHECK(images.shape() == stored.shape());
  CHECK(images.class_count() == 3);
  CHECK(images.label(1) == 2);
  CHECK(images.normalization() == normalization);
  const DatasetStatistics measured = measure(images);
  for (const Moments& channel : measured.channels()) {
    CHECK(channel.mean == Approx(0).margin(1e-7));
    CHECK(channel.deviation() == Approx(1).epsilon(1e-6));
  }
  CHECK(measured.sigma_data() == Approx(1).epsilon(1e-6));

  std::vector<float> expected(36), drawn(36);
  for (std::int64_t index = 0; index < 3; ++index) {
    const auto at = static_cast<std::size_t>(index) * 12;
    stored.read(index, std::span(expected).subspan(at, 12));
    images.read(index, std::span(drawn).subspan(at, 12));
  }
  normalization.undo(drawn, 6);
  for (std::size_t at = 0; at < drawn.size(); ++at) CHECK(drawn[at] == Approx(expected[at]).margin(1e-6));
}

TEST_CASE("patches of a NormalizedDataset are those of its images, with zeros outside") {
  const TemporaryFolder folder;
  const std::vector<std::uint8_t> all = bytes();
  const MappedArray stored(folder.add("a", {reinterpret_cast<const char*>(all.data()), all.size()}),
                           {.count = 3, .image = {2, 2, 3}});
  const NormalizedDataset images(stored, {.mean = {0.25, -0.5}, .deviation = {0.5, 2}});
  using B = host::SpanBackend<float>;
  B::Tensor whole = B::zeros({1, 2, 2, 3}, {});
  images.read(2, whole.values);
  std::vector<float> plain(12);
  stored.read(2, plain);
  CHECK(whole.values[0] == (plain[0] - 0.25F) / 0.5F);
  CHECK(whole.values[11] == (plain[11] + 0.5F) / 2);
  for (std::int64_t top = -4; top <= 3; ++top) {
    for (std::int64_t left = -4; left <= 4; ++left) {
      std::vector<float> patch(2 * 3 * 2);
      images.read_patch(2, Place::at(top, left), {3, 2}, patch);
      const B::Tensor expected = B::crop(whole, Places::repeated({3, 2}, Place::at(top, left), 1));
      CHECK(std::equal(patch.begin(), patch.end(), expected.values.begin(), expected.values.end()));
    }
  }
}

TEST_CASE("Normalization refuses what does not fit") {
  const ArrayDataset stored({.shape = {2, 2, 3}, .pixels = bytes()});
  CHECK_ERROR(ConfigError, "Normalization: mean and deviation: expected 2 each, got 1 and 2",
              NormalizedDataset(stored, {.mean = {0}, .deviation = {1, 1}}));
  const std::string expected = "expected a finite mean and a deviation above 0, got ";
  CHECK_ERROR(ConfigError, "Normalization: channel 1: " + expected + "0 and 0",
              NormalizedDataset(stored, {.mean = {0, 0}, .deviation = {1, 0}}));
  CHECK_ERROR(ConfigError, "Normalization: channel 0: " + expected + "inf and 1",
              NormalizedDataset(stored, {.mean = {std::numeric_limits<double>::infinity(), 0}, .deviation = {1, 1}}));
  std::vector<float> images(7);
  CHECK_ERROR(ShapeError, "Normalization: images: expected a multiple of 6 values, got 7",
              Normalization({.mean = {0, 0}, .deviation = {1, 1}}).undo(images, 3));
}

TEST_CASE("a model file can keep a Normalization") {
  const Normalization normalization{.mean = {0.1, -1.0 / 3}, .deviation = {1e-3, 2}};
  const std::string text = settings_json::text(normalization);
  CHECK(settings_json::options<Normalization>(text, "normalization") == normalization);
}

}  // namespace
}  // namespace patchdiff
