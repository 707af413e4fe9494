// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/idx_dataset.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "support/temporary_folder.hpp"

#include "support/catch.hpp"

using Catch::Matchers::Message;
using patchdiff::ArrayDataset;
using patchdiff::ImageShape;
using patchdiff::ImageSize;
using patchdiff::read_idx_dataset;

namespace {

/// Two images of 2 x 1 pixels and their labels.
const std::string two_images(
    "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x01"
    "abcd",
    20);
const std::string two_labels("\0\0\x08\x01\0\0\0\x02\x03\x09", 10);

std::string pixels(const ArrayDataset& dataset, std::int64_t index) {
  const auto bytes = dataset.pixels(index);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("read_idx_dataset joins images and labels") {
  const TemporaryFolder folder;
  const auto images = folder.add("images", two_images);
  const auto labels = folder.add("labels", two_labels);
  const ArrayDataset labelled = read_idx_dataset({.images = images, .labels = labels});
  CHECK(labelled.size() == 2);
  CHECK(labelled.shape() == ImageShape{1, 2, 1});
  CHECK(pixels(labelled, 1) == "cd");
  CHECK(labelled.label(0) == 3);
  CHECK(labelled.label(1) == 9);
  CHECK(labelled.class_count() == 10);
  CHECK(read_idx_dataset({.images = images, .labels = labels, .class_count = 12}).class_count() == 12);
  CHECK(read_idx_dataset({.images = images}).class_count() == 0);
}

TEST_CASE("read_idx_dataset centres images on black") {
  const TemporaryFolder folder;
  const auto images = folder.add("images", two_images);
  const auto padded = [&](ImageSize size) { return read_idx_dataset({.images = images, .pad_to = size}); };
  CHECK(padded({4, 3}).shape() == ImageShape{1, 4, 3});
  CHECK(pixels(padded({4, 3}), 0) == std::string("\0\0\0"
                                                 "\0a\0"
                                                 "\0b\0"
                                                 "\0\0\0",
                                                 12));
  CHECK(pixels(padded({4, 3}), 1) == std::string("\0\0\0"
                                                 "\0c\0"
                                                 "\0d\0"
                                                 "\0\0\0",
                                                 12));
  CHECK(pixels(padded({3, 2}), 1) == std::string("c\0"
                                                 "d\0"
                                                 "\0\0",
                                                 6));
  CHECK(pixels(padded({2, 1}), 1) == "cd");
}

TEST_CASE("read_idx_dataset refuses files that do not fit together") {
  const TemporaryFolder folder;
  const auto images = folder.add("images", two_images);
  const auto labels = folder.add("labels", std::string("\0\0\x08\x01\0\0\0\x03\x03\x09\x01", 11));
  CHECK_THROWS_MATCHES(read_idx_dataset({.images = images, .labels = labels}), patchdiff::DataError,
                       Message(fmt::format("read_idx_dataset: {}: expected 2 labels, got 3", labels.string())));
  CHECK_THROWS_MATCHES(read_idx_dataset({.images = images, .labels = images}), patchdiff::DataError,
                       Message(fmt::format("read_idx: {}: expected 1 dimensions, got 3", images.string())));
  CHECK_THROWS_MATCHES(read_idx_dataset({.images = images, .pad_to = {1, 5}}), patchdiff::ConfigError,
                       Message("read_idx_dataset: pad_to: expected at least 2x1, got 1x5"));
  CHECK_THROWS_MATCHES(read_idx_dataset({.images = images, .maximum_bytes = 19}), patchdiff::DataError,
                       Message(fmt::format("read_idx: {}: expected at most 19 bytes, got more", images.string())));
  const auto empty = folder.add("empty", std::string("\0\0\x08\x03\0\0\0\0\0\0\0\x02\0\0\0\x01", 16));
  CHECK_THROWS_MATCHES(
      read_idx_dataset({.images = empty}), patchdiff::DataError,
      Message(fmt::format("read_idx_dataset: {}: expected at least one pixel, got [0, 2, 1]", empty.string())));
}

TEST_CASE("read_idx_dataset reads Fashion-MNIST where Debian's package has put it") {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) return;
  const ArrayDataset dataset = read_idx_dataset({.images = folder / "t10k-images-idx3-ubyte.gz",
                                                 .labels = folder / "t10k-labels-idx1-ubyte.gz",
                                                 .pad_to = {32, 32}});
  CHECK(dataset.size() == 10'000);
  CHECK(dataset.shape() == ImageShape{1, 32, 32});
  CHECK(dataset.class_count() == 10);
  std::vector<std::int64_t> count(10);
  for (std::int64_t index = 0; index < dataset.size(); ++index) ++count[static_cast<std::size_t>(dataset.label(index))];
  CHECK(count == std::vector<std::int64_t>(10, 1000));
}
