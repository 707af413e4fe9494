// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/array_dataset.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <patchdiff/data/dataset.hpp>

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::ArrayDataset;
using patchdiff::DataError;
using patchdiff::ImageShape;
using patchdiff::LabelledImages;
using patchdiff::ShapeError;

static_assert(patchdiff::Dataset<ArrayDataset>);
static_assert(patchdiff::LabelledDataset<ArrayDataset>);
static_assert(!patchdiff::Dataset<std::vector<float>>);

namespace {

using Bytes = std::vector<std::uint8_t>;

LabelledImages two_images() { return {.shape = {1, 1, 3}, .pixels = {0, 1, 2, 127, 128, 255}, .labels = {}}; }

}  // namespace

TEST_CASE("ArrayDataset gives images as floats from -1 to 1") {
  const ArrayDataset dataset{two_images()};
  CHECK(dataset.size() == 2);
  CHECK(dataset.shape() == ImageShape{1, 1, 3});
  CHECK(dataset.class_count() == 0);
  std::vector<float> image(3);
  dataset.read(0, image);
  CHECK(image == std::vector<float>{-1.0F, 1.0F / 127.5F - 1.0F, 2.0F / 127.5F - 1.0F});
  dataset.read(1, image);
  CHECK(image == std::vector<float>{127.0F / 127.5F - 1.0F, 128.0F / 127.5F - 1.0F, 1.0F});
}

TEST_CASE("ArrayDataset lets its bytes be seen without a copy") {
  LabelledImages images = two_images();
  const std::uint8_t* stored = images.pixels.data();
  const ArrayDataset dataset{std::move(images)};
  CHECK(dataset.pixels(1).data() == stored + 3);
  CHECK(dataset.pixels(1).size() == 3);
}

TEST_CASE("ArrayDataset gives labels and counts classes") {
  LabelledImages images = two_images();
  images.labels = {4, 0};
  const ArrayDataset counted{images};
  CHECK(counted.label(0) == 4);
  CHECK(counted.label(1) == 0);
  CHECK(counted.class_count() == 5);
  images.class_count = 10;
  CHECK(ArrayDataset{images}.class_count() == 10);
}

TEST_CASE("ArrayDataset refuses images that do not fit") {
  const auto make = [](ImageShape shape, std::size_t size) {
    return ArrayDataset{{.shape = shape, .pixels = Bytes(size), .labels = {}}};
  };
  CHECK_THROWS_MATCHES(make({1, 0, 3}, 3), ShapeError,
                       Message("ArrayDataset: shape: expected sizes of at least 1, got 1x0x3"));
  CHECK_THROWS_MATCHES(make({3, 2, 2}, 13), ShapeError,
                       Message("ArrayDataset: pixels: expected a multiple of 12 bytes, got 13"));
  CHECK_THROWS_MATCHES(make({3, 2, 2}, 0), ShapeError,
                       Message("ArrayDataset: pixels: expected a multiple of 12 bytes, got 0"));
}

TEST_CASE("ArrayDataset refuses labels that do not fit") {
  const auto make = [](std::vector<std::int64_t> labels, std::int64_t class_count) {
    LabelledImages images = two_images();
    images.labels = std::move(labels);
    images.class_count = class_count;
    return ArrayDataset{std::move(images)};
  };
  CHECK_THROWS_MATCHES(make({1}, 0), ShapeError, Message("ArrayDataset: labels: expected 2 labels, got 1"));
  CHECK_THROWS_MATCHES(make({1, 2, 3}, 0), ShapeError, Message("ArrayDataset: labels: expected 2 labels, got 3"));
  CHECK_THROWS_MATCHES(make({}, 10), ShapeError, Message("ArrayDataset: labels: expected 2 labels, got 0"));
  CHECK_THROWS_MATCHES(make({0, -1}, 0), DataError, Message("ArrayDataset: labels: expected 0 or more, got -1"));
  CHECK_THROWS_MATCHES(make({10, 0}, 10), DataError, Message("ArrayDataset: labels: expected less than 10, got 10"));
  CHECK_THROWS_MATCHES(make({INT64_MAX, 0}, 0), DataError,
                       Message("ArrayDataset: labels: expected less than 2147483648, got 9223372036854775807"));
}

TEST_CASE("ArrayDataset refuses indices and buffers that do not fit") {
  const ArrayDataset dataset{two_images()};
  std::vector<float> image(3);
  const auto message = Message("ArrayDataset: index: expected 0 to 1, got 2");
  CHECK_THROWS_MATCHES(dataset.read(2, image), DataError, message);
  CHECK_THROWS_MATCHES(dataset.label(2), DataError, message);
  CHECK_THROWS_MATCHES(dataset.pixels(2), DataError, message);
  CHECK_THROWS_MATCHES(dataset.read(-1, image), DataError, Message("ArrayDataset: index: expected 0 to 1, got -1"));
  CHECK_THROWS_MATCHES(dataset.label(0), DataError, Message("ArrayDataset: labels: expected labels, got none"));
  image.resize(4);
  CHECK_THROWS_MATCHES(dataset.read(0, image), ShapeError, Message("ArrayDataset: out: expected 3 values, got 4"));
}
