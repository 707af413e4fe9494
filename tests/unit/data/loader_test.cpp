// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <stdexcept>
#include <vector>

#include <patchdiff/data/loader.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/cosine_images.hpp"
#include "support/errors.hpp"

using namespace patchdiff;
using B = host::SpanBackend<double>;

namespace {

/// One-pixel images whose value and label tell their number.
struct Numbered {
  std::int64_t count = 10;
  std::int64_t bad = -1;      ///< an image that is not finite
  std::int64_t missing = -1;  ///< an image that cannot be read

  std::int64_t size() const { return count; }
  ImageShape shape() const { return {1, 1, 1}; }
  std::int64_t label(std::int64_t index) const { return index % 3; }
  std::int64_t class_count() const { return 3; }
  void read(std::int64_t index, std::span<float> out) const {
    if (index == missing) throw std::runtime_error("gone");
    out[0] = index == bad ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(index);
  }
};

PatchPlan plan_of(std::uint64_t first, std::int64_t images) {
  return {.patch = {1, 1}, .images = images, .first_image = first};
}

}  // namespace

TEST_CASE("Loader hands out the images of its order with their labels") {
  const Numbered source;
  Loader<B, Numbered> loader(source, {}, {.seed = 3, .prefetch = 4});
  const DataOrder order({3}, 10);
  std::uint64_t position = 0;
  for (const std::int64_t images : {3, 10, 1, 12}) {
    const ImageBatch<B> batch = loader.take(plan_of(position, images));
    CHECK(B::shape(batch.images) == Shape{images, 1, 1, 1});
    CHECK(B::shape(*batch.class_labels) == Shape{images, 3});
    const std::vector<double> values = B::to_host(batch.images), labels = B::to_host(*batch.class_labels);
    for (std::size_t n = 0; n < values.size(); ++n) {
      const std::uint64_t index = order(position++);
      CHECK(values[n] == static_cast<double>(index));
      for (std::size_t c = 0; c < 3; ++c) CHECK(labels[n * 3 + c] == (index % 3 == c ? 1 : 0));
    }
  }
}

TEST_CASE("Loader hands out the parts of a step one by one") {
  const Numbered source;
  Loader<B, Numbered> loader(source, {}, {.seed = 3, .prefetch = 4});
  const PatchPlan plan = plan_of(7, 8);
  const ImageBatch<B> whole = loader.take(plan);
  std::vector<double> values, labels;
  for (const std::uint64_t first : {0U, 3U, 6U}) {
    const ImageBatch<B> part = loader.take(plan, first, first == 6 ? 2 : 3);
    CHECK(part.first_sample == first);
    values.insert(values.end(), part.images.values.begin(), part.images.values.end());
    labels.insert(labels.end(), part.class_labels->values.begin(), part.class_labels->values.end());
  }
  CHECK(values == B::to_host(whole.images));
  CHECK(labels == B::to_host(*whole.class_labels));
}

TEST_CASE("Loader repeats no image within an epoch") {
  const Numbered source{.count = 25};
  Loader<B, Numbered> loader(source, {}, {.seed = 1, .prefetch = 7});
  for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
    std::set<double> seen;
    for (std::uint64_t part = 0; part < 5; ++part) {
      for (const double value : B::to_host(loader.take(plan_of(epoch * 25 + part * 5, 5)).images)) seen.insert(value);
    }
    CHECK(seen.size() == 25);
  }
}

TEST_CASE("Loader goes on at any position, as after a resume") {
  const Numbered source;
  Loader<B, Numbered> loader(source, {}, {.seed = 3, .prefetch = 5});
  const std::vector<double> ahead = B::to_host(loader.take(plan_of(40, 6)).images);
  const std::vector<double> back = B::to_host(loader.take(plan_of(2, 6)).images);
  Loader<B, Numbered> other(source, {}, {.seed = 3, .prefetch = 1});
  CHECK(B::to_host(other.take(plan_of(2, 6)).images) == back);
  CHECK(B::to_host(other.take(plan_of(40, 6)).images) == ahead);
}

TEST_CASE("Loader hands out the same whatever the workers, the split and how far it is ahead") {
  const CosineImages source{.image = {6, 9}, .count = 7};
  const auto load = [&](LoaderOptions options, const std::vector<std::int64_t>& split) {
    options.seed = 5;
    options.augmentation = {.x_flip = true, .probability = 0.4};
    Loader<B, CosineImages> loader(source, {}, options);
    std::vector<double> all;
    std::uint64_t position = 3;
    for (const std::int64_t images : split) {
      const ImageBatch<B> batch = loader.take(plan_of(position, images));
      REQUIRE(batch.maps.size() == static_cast<std::size_t>(images));
      const std::vector<double> values = B::to_host(batch.images), labels = B::to_host(*batch.augment_labels);
      for (std::size_t n = 0; n < batch.maps.size(); ++n) {
        const PixelMap drawn = Augmentation(options.augmentation).draw({5}, position++, source.image).to_image;
        CHECK(batch.maps[n] == drawn);
        all.insert(all.end(), values.begin() + static_cast<std::ptrdiff_t>(n * 162),
                   values.begin() + static_cast<std::ptrdiff_t>((n + 1) * 162));
        all.insert(all.end(), labels.begin() + static_cast<std::ptrdiff_t>(n * 9),
                   labels.begin() + static_cast<std::ptrdiff_t>((n + 1) * 9));
      }
    }
    return all;
  };
  const std::vector<double> expected = load({}, {40});
  CHECK(load({.workers = 2}, {40}) == expected);
  CHECK(load({.workers = 5}, {40}) == expected);
  CHECK(load({.workers = 5, .prefetch = 2}, {1, 13, 6, 20}) == expected);
  CHECK(load({.workers = 2, .prefetch = 100}, {39, 1}) == expected);
}

TEST_CASE("Loader leaves images without augmentation as they are") {
  const CosineImages source{.image = {6, 9}, .count = 1};
  const std::vector<float> stored = source.pixels();
  Loader<B, CosineImages> plain(source, {});
  const ImageBatch<B> batch = plain.take(plan_of(0, 2));
  CHECK(batch.maps.empty());
  CHECK_FALSE(batch.augment_labels);
  const std::vector<double> values = B::to_host(batch.images);
  CHECK(std::equal(stored.begin(), stored.end(), values.begin()));
}

TEST_CASE("Loader passes on what is wrong with an image") {
  const DataOrder order({3}, 10);
  const Numbered bad{.bad = 4};
  Loader<B, Numbered> of_bad(bad, {}, {.seed = 3});
  CHECK_ERROR(DataError, "Loader: images: expected finite values, got nan in image 4", of_bad.take(plan_of(0, 10)));
  const Numbered missing{.missing = 4};
  Loader<B, Numbered> of_missing(missing, {}, {.seed = 3});
  CHECK_THROWS_WITH(of_missing.take(plan_of(0, 10)), "gone");
}

TEST_CASE("Loader reads an image again that could not be read once") {
  /// Images of which the first one that is read cannot be.
  struct FailsOnce : Numbered {
    std::atomic<bool>* failed = nullptr;
    void read(std::int64_t index, std::span<float> out) const {
      if (!failed->exchange(true)) throw std::runtime_error("busy");
      Numbered::read(index, out);
    }
  };
  const Numbered sound;
  Loader<B, Numbered> expected(sound, {}, {.seed = 3});
  std::atomic<bool> failed{false};
  FailsOnce source;
  source.failed = &failed;
  Loader<B, FailsOnce> loader(source, {}, {.seed = 3, .prefetch = 4});
  const PatchPlan plan = plan_of(0, 6);
  CHECK_THROWS_WITH(loader.take(plan), "busy");
  CHECK(B::to_host(loader.take(plan).images) == B::to_host(expected.take(plan).images));
}

TEST_CASE("Loader refuses settings that cannot work") {
  const Numbered source, empty{.count = 0};
  CHECK_ERROR(ConfigError, "Loader: source: expected at least one image, got none", Loader<B, Numbered>(empty, {}));
  CHECK_ERROR(ConfigError, "Loader: prefetch: expected at least 0, got -1",
              Loader<B, Numbered>(source, {}, {.prefetch = -1}));
  CHECK_ERROR(ConfigError, "Loader: workers: expected at least 1, got 0",
              Loader<B, Numbered>(source, {}, {.workers = 0}));
  CHECK_ERROR(ConfigError, "Augmentation: probability: expected a value in [0, 1], got 2",
              Loader<B, Numbered>(source, {}, {.augmentation = {.probability = 2}}));
}
