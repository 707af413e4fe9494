// SPDX-License-Identifier: Apache-2.0
#include "small_images.hpp"

#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>

#include "shared/fashion_mnist.hpp"

namespace {

namespace pd = patchdiff;

constexpr pd::ImageSize image{16, 16};

}  // namespace

pd::ArrayDataset textures(std::uint64_t seed) {
  constexpr std::int64_t classes = 4, count = 4096;
  const double turn = 2 * std::numbers::pi;
  pd::LabelledImages drawn{.shape = {1, image.height, image.width}, .class_count = classes};
  for (std::int64_t index = 0; index < count; ++index) {
    const pd::RandomStream stream({seed}, pd::Purpose::data_order, 1, static_cast<std::uint64_t>(index));
    const double phase = turn * stream.uniform(0), other_phase = turn * stream.uniform(1);
    const std::int64_t label = index % classes;
    for (std::int64_t pixel = 0; pixel < pd::pixel_count(image); ++pixel) {
      const double y = turn / 8 * static_cast<double>(pixel / image.width);
      const double x = turn / 8 * static_cast<double>(pixel % image.width);
      const double along = label == 0 ? y : label == 1 ? x : label == 2 ? (x + y) / std::numbers::sqrt2 : x;
      const double wave = std::sin(along + phase) * (label == 3 ? std::sin(y + other_phase) : 1);
      drawn.pixels.push_back(static_cast<std::uint8_t>(127.5 + 127.4 * wave));
    }
    drawn.labels.push_back(label);
  }
  return pd::ArrayDataset(std::move(drawn));
}

pd::ArrayDataset garments(const std::filesystem::path& folder) {
  const pd::ArrayDataset full = fashion_mnist(folder, "train");
  pd::LabelledImages halved{.shape = {1, image.height, image.width}, .class_count = full.class_count()};
  for (std::int64_t index = 0; index < full.size(); ++index) {
    const std::uint8_t* pixels = full.pixels(index).data();
    for (std::int64_t row = 0; row < image.height; ++row, pixels += 4 * image.width) {
      for (std::int64_t column = 0; column < image.width; ++column) {
        const std::uint8_t* corner = pixels + 2 * column;
        const int sum = corner[0] + corner[1] + corner[2 * image.width] + corner[2 * image.width + 1];
        halved.pixels.push_back(static_cast<std::uint8_t>((sum + 2) / 4));
      }
    }
    halved.labels.push_back(full.label(index));
  }
  return pd::ArrayDataset(std::move(halved));
}
