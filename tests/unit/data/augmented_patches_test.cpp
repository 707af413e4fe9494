// SPDX-License-Identifier: Apache-2.0
// Augmented images on their way to the network: patches and the coordinates that go with them.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/augmentation.hpp>
#include <patchdiff/data/loader.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/data/warp.hpp>
#include <patchdiff/patch/coord_encoder.hpp>
#include <patchdiff/patch/patch_sampler.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/cosine_images.hpp"
#include "support/statistics.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

using B = host::SpanBackend<double>;
using Numbers = std::vector<double>;

/// An image whose pixels all differ.
std::vector<float> numbered(ImageSize size) {
  std::vector<float> values;
  for (std::int64_t pixel = 0; pixel < pixel_count(size); ++pixel) values.push_back(static_cast<float>(pixel));
  return values;
}

std::vector<float> warped(const std::vector<float>& values, ImageSize size, const PixelMap& map, ImageSize patch) {
  std::vector<float> out(values.size() / static_cast<std::size_t>(pixel_count(size)) *
                         static_cast<std::size_t>(pixel_count(patch)));
  Warp(size, map, patch)(values, {Place::at(0, 0), size}, out);
  return out;
}

B::Tensor image_tensor(const std::vector<float>& values, ImageSize size) {
  const auto channels = static_cast<std::int64_t>(values.size()) / pixel_count(size);
  return B::from_host(std::span<const float>(values), {1, channels, size.height, size.width}, {});
}

/// A patch's pixels and then its coordinates.
Numbers told(const B::Tensor& patch, const Places& places, ImageSize image) {
  Numbers all = B::to_host(patch);
  const Numbers coordinates = B::to_host(CoordEncoder<B>(image)(places, {}));
  all.insert(all.end(), coordinates.begin(), coordinates.end());
  return all;
}

/// The flips and quarter turns that leave images of this size in their frame.
std::vector<PixelMap> symmetries(ImageSize size) {
  const PixelMap x_flip = PixelMap::mirrored(size.width);
  const PixelMap y_flip{.row_from_row = -1, .row_offset = static_cast<double>(size.height - 1)};
  std::vector<PixelMap> all{{}, x_flip, y_flip, x_flip.after(y_flip)};
  if (size.height != size.width) return all;
  const PixelMap transposed{0, 1, 0, 1, 0, 0};
  for (std::size_t i = 0; i < 4; ++i) all.push_back(transposed.after(all[i]));
  return all;
}

template <class F>
void for_each_place(ImageSize image, ImageSize patch, F&& f) {
  for (std::int64_t top = 0; top + patch.height <= image.height; ++top) {
    for (std::int64_t left = 0; left + patch.width <= image.width; ++left) f(Place::at(top, left));
  }
}

TEST_CASE("flips and quarter turns before the crop or after it give the same patches with the same coordinates") {
  struct Sizes {
    ImageSize image, patch;
  };
  for (const Sizes& sizes : {Sizes{{5, 5}, {2, 2}}, Sizes{{4, 6}, {3, 2}}, Sizes{{3, 7}, {3, 7}}}) {
    const ImageSize image = sizes.image, patch = sizes.patch;
    const std::vector<float> values = numbered(image);
    const std::vector<PixelMap> of_image = symmetries(image), of_patch = symmetries(patch);
    REQUIRE(of_image.size() == of_patch.size());
    std::set<Numbers> different;
    for (std::size_t change = 0; change < of_image.size(); ++change) {
      std::multiset<Numbers> augmented_first, cropped_first;
      const B::Tensor changed = image_tensor(warped(values, image, of_image[change], image), image);
      for_each_place(image, patch, [&](const Place& place) {
        const PatchBatch<B> cut =
            PatchSampler<B>{}({.images = changed, .maps = {of_image[change]}}, Places{patch, {place}});
        augmented_first.insert(told(cut.images, cut.places, image));

        const Numbers plain = B::to_host(B::crop(image_tensor(values, image), {patch, {place}}));
        const std::vector<float> changed_patch = warped({plain.begin(), plain.end()}, patch, of_patch[change], patch);
        const Place moved{place.top, place.left, place.to_image.after(of_patch[change])};
        cropped_first.insert(told(image_tensor(changed_patch, patch), {patch, {moved}}, image));
      });
      CHECK(augmented_first == cropped_first);
      different.insert(augmented_first.begin(), augmented_first.end());
    }
    // No two changes are the same, so that the check above cannot pass for having none.
    const std::int64_t places = (image.height - patch.height + 1) * (image.width - patch.width + 1);
    CHECK(different.size() == of_image.size() * static_cast<std::size_t>(places));
  }
}

TEST_CASE("a shift by whole pixels is a patch from elsewhere") {
  const ImageSize image{6, 7}, patch{2, 3};
  const std::vector<float> values = numbered(image);
  for (const auto& steps : {std::array<std::int64_t, 2>{0, 2}, {1, -1}, {-3, 2}}) {
    const std::int64_t down = steps[0], right = steps[1];
    const PixelMap shift{.row_offset = static_cast<double>(down), .column_offset = static_cast<double>(right)};
    const B::Tensor changed = image_tensor(warped(values, image, shift, image), image);
    std::size_t compared = 0;
    for_each_place(image, patch, [&](const Place& place) {
      const Place there = Place::at(place.top + down, place.left + right);
      if (there.top < 0 || there.left < 0 || there.top + 2 > 6 || there.left + 3 > 7) return;
      const PatchBatch<B> cut = PatchSampler<B>{}({.images = changed, .maps = {shift}}, Places{patch, {place}});
      const PatchBatch<B> plain = PatchSampler<B>{}({.images = image_tensor(values, image)}, Places{patch, {there}});
      CHECK(told(cut.images, cut.places, image) == told(plain.images, plain.places, image));
      ++compared;
    });
    CHECK(compared > 0);
  }
}

TEST_CASE("a patch of the augmented image is the image warped by the map of its place") {
  const CosineImages source;
  const Augmentation augmentation({.x_flip = true, .probability = 0.7});
  const ImageSize patch{9, 7};
  for (std::uint64_t number = 0; number < 30; ++number) {
    const RandomStream stream({4}, Purpose::probe, number, 0);
    const PixelMap map = augmentation.draw({4}, number, source.image).to_image;
    const std::vector<float> whole = warped(source.pixels(), source.image, map, source.image);
    const Place place =
        Place::at(static_cast<std::int64_t>(stream.below(40, 30)), static_cast<std::int64_t>(stream.below(58, 31)));
    const PatchBatch<B> cut =
        PatchSampler<B>{}({.images = image_tensor(whole, source.image), .maps = {map}}, Places{patch, {place}});
    const std::vector<float> alone = warped(source.pixels(), source.image, cut.places.at[0].to_image, patch);
    const Numbers expected = B::to_host(cut.images);
    double worst = 0;
    for (std::size_t i = 0; i < alone.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(alone[i]) - expected[i]));
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("every pixel of a loaded patch has the value of the coordinates that are told") {
  const CosineImages source;
  Loader<B, CosineImages> loader(source, {}, {.seed = 2, .augmentation = {.x_flip = true, .probability = 0.7}});
  const PatchSampler<B> crop;
  for (const ImageSize patch : {ImageSize{48, 64}, ImageSize{16, 16}}) {
    const PatchPlan plan{.patch = patch, .images = 60, .first_image = 17, .step = 3, .key = {2}};
    const ImageBatch<B> batch = loader.take(plan);
    const PatchBatch<B> patches = crop(batch, crop.places(plan, source.image, plan.images));
    const Numbers values = B::to_host(patches.images);
    const Numbers coordinates = B::to_host(CoordEncoder<B>(source.image)(patches.places, {}));
    const auto plane = static_cast<std::size_t>(pixel_count(patch));
    double worst = 0;
    for (std::size_t sample = 0; sample < 60; ++sample) {
      for (std::size_t pixel = 0; pixel < plane; ++pixel) {
        const double x = coordinates[2 * sample * plane + pixel], y = coordinates[(2 * sample + 1) * plane + pixel];
        for (std::size_t channel = 0; channel < 3; ++channel) {
          const double got = values[(3 * sample + channel) * plane + pixel];
          worst = std::max(worst, std::abs(got - cosine_value(static_cast<std::int64_t>(channel), x, y)));
        }
      }
    }
    CHECK(worst < 5e-3);
    CHECK(B::shape(*patches.augment_labels) == Shape{60, 9});
  }
}

/// A data set in memory that reads parts of an image, and notes the largest.
struct Regions {
  CosineImages whole{};
  mutable std::int64_t largest = 0;

  std::int64_t size() const { return whole.size(); }
  ImageShape shape() const { return whole.shape(); }
  std::int64_t label(std::int64_t index) const { return index % 2; }
  std::int64_t class_count() const { return 2; }
  void read(std::int64_t index, std::span<float> out) const { whole.read(index, out); }
  void read_patch(std::int64_t, const Place& place, ImageSize patch, std::span<float> out) const {
    const Numbers values = B::to_host(B::crop(image_tensor(whole.pixels(), whole.image), {patch, {place}}));
    std::transform(values.begin(), values.end(), out.begin(), [](double value) { return static_cast<float>(value); });
    largest = std::max(largest, pixel_count(patch));
  }
};

TEST_CASE("patches read alone are those cut from augmented images, in the frame of zeros too") {
  const Regions source;
  for (const double probability : {0.0, 0.5}) {
    const AugmentationOptions augmentation{.x_flip = true, .probability = probability};
    Loader<B, Regions> loader(source, {}, {.seed = 6, .augmentation = augmentation});
    const PatchLoader<B, Regions> patch_loader(source, {}, {.seed = 6, .padding = 3, .augmentation = augmentation});
    const PatchPlan plan{.patch = {12, 9}, .images = 50, .first_image = 4, .step = 1, .key = {6}};
    const PatchSampler<B> crop(3);
    const PatchBatch<B> expected = crop(loader.take(plan), crop.places(plan, source.whole.image, plan.images));
    source.largest = 0;
    const PatchBatch<B> got = patch_loader.take(plan);
    CHECK(got.places == expected.places);
    CHECK(B::to_host(*got.class_labels) == B::to_host(*expected.class_labels));
    REQUIRE(got.augment_labels.has_value() == (probability > 0));
    if (got.augment_labels) CHECK(B::to_host(*got.augment_labels) == B::to_host(*expected.augment_labels));
    const Numbers values = B::to_host(got.images), cut = B::to_host(expected.images);
    REQUIRE(values.size() == cut.size());
    double worst = 0;
    for (std::size_t i = 0; i < cut.size(); ++i) worst = std::max(worst, std::abs(values[i] - cut[i]));
    CHECK(worst <= (probability > 0 ? 1e-5 : 0));
    CHECK(std::count(cut.begin(), cut.end(), 0.0) > 0);
    CHECK(source.largest < (probability > 0 ? 48 * 64 / 2 : 12 * 9 + 1));
  }
}

/// One image whose pixels all differ.
struct OneImage {
  ImageSize image{4, 5};
  std::int64_t size() const { return 1; }
  ImageShape shape() const { return {1, image.height, image.width}; }
  void read(std::int64_t, std::span<float> out) const {
    const std::vector<float> values = numbered(image);
    std::copy(values.begin(), values.end(), out.begin());
  }
};

// False-alarm rate: about 1e-6.
TEST_CASE("with flips each patch comes as often as its mirror image, from everywhere alike") {
  const OneImage source;
  Loader<B, OneImage> loader(source, {}, {.seed = 8, .augmentation = {.x_flip = true}});
  constexpr std::int64_t count = 20'000;
  const PatchPlan plan{.patch = {2, 2}, .images = count, .key = {8}};
  const PatchSampler<B> crop;
  const ImageBatch<B> batch = loader.take(plan);
  CHECK_FALSE(batch.augment_labels);
  const PatchBatch<B> patches = crop(batch, crop.places(plan, source.image, count));
  const Numbers values = B::to_host(patches.images);
  Numbers counts(3 * 4 * 2);  // corners, either way round
  for (std::size_t sample = 0; sample < count; ++sample) {
    const auto first = static_cast<std::size_t>(values[4 * sample]),
               second = static_cast<std::size_t>(values[4 * sample + 1]);
    const std::size_t corner = std::min(first, second), mirrored = first > second;
    ++counts.at((corner / 5 * 4 + corner % 5) * 2 + mirrored);
    const PixelMap& map = patches.places.at[sample].to_image;
    CHECK(map.column_from_column == (mirrored == 1 ? -1 : 1));
    CHECK(5 * map.row(0, 0) + map.column(0, 0) == values[4 * sample]);
  }
  CHECK(chi_square(counts, static_cast<double>(count) / 24) < largest_chi_square(24));
}

}  // namespace
}  // namespace patchdiff
