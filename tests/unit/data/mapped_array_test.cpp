// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/patch_loader.hpp>
#include <patchdiff/patch/patch_sampler.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"
#include "support/tensors.hpp"

namespace patchdiff {
namespace {

static_assert(RegionDataset<MappedArray>);

using B = host::SpanBackend<float>;

/// Bytes 0 to 119 behind a header of 3: two images of 2x5x6 pixels.
std::filesystem::path two_images(const TemporaryFolder& folder) {
  std::string bytes = "abc";
  for (int value = 0; value < 120; ++value) bytes += static_cast<char>(value);
  return folder.add("images", bytes);
}

constexpr ArrayLayout layout{.count = 2, .image = {2, 5, 6}, .offset = 3};

/// The images of a source, as one tensor.
template <class Source>
B::Tensor all_images(const Source& source) {
  const ImageShape shape = source.shape();
  B::Tensor images = B::zeros({source.size(), shape.channels, shape.height, shape.width}, {});
  const auto values = images.values.size() / static_cast<std::size_t>(source.size());
  for (std::int64_t index = 0; index < source.size(); ++index) {
    source.read(index, std::span(images.values).subspan(static_cast<std::size_t>(index) * values, values));
  }
  return images;
}

TEST_CASE("MappedArray reads images and patches of bytes") {
  const TemporaryFolder folder;
  const MappedArray array(two_images(folder), layout);
  CHECK(array.size() == 2);
  CHECK(array.shape() == ImageShape{2, 5, 6});
  const B::Tensor images = all_images(array);
  for (std::size_t index = 0; index < 120; ++index) {
    CHECK(images.values[index] == static_cast<float>(index) / 127.5F - 1.0F);
  }
  for (const Place place : {Place::at(1, 2), Place::at(-1, -2), Place::at(3, 4), Place::at(-9, 0)}) {
    const Places places = Places::repeated({3, 4}, place, 2);
    const B::Tensor expected = B::crop(images, places);
    std::vector<float> patches(48);
    for (std::int64_t index = 0; index < 2; ++index) {
      array.read_patch(index, place, {3, 4}, std::span(patches).subspan(static_cast<std::size_t>(index) * 24, 24));
    }
    CHECK(std::ranges::equal(patches, expected.values));
  }
}

TEST_CASE("MappedArray reads floats at any offset") {
  const TemporaryFolder folder;
  const std::array<float, 4> values{0.5F, -1.25F, 1e30F, 0};
  std::string bytes = "x";
  bytes.append(reinterpret_cast<const char*>(values.data()), sizeof(values));
  const MappedArray array(folder.add("floats", bytes),
                          {.image = {1, 2, 2}, .scalar = ArrayScalar::float32, .offset = 1});
  std::vector<float> image(4);
  array.read(0, image);
  CHECK(image == std::vector<float>(values.begin(), values.end()));
}

TEST_CASE("MappedArray reads words at any offset") {
  const TemporaryFolder folder;
  const MappedArray array(folder.add("words", std::string("x\x00\x00\x01\x00\x00\x01\xff\xff", 9)),
                          {.image = {1, 2, 2}, .scalar = ArrayScalar::uint16, .offset = 1});
  std::vector<float> image(4);
  array.read(0, image);
  CHECK(image == std::vector<float>{-1, 1 / 32767.5F - 1, 256 / 32767.5F - 1, 1});
}

TEST_CASE("a patch of an image larger than memory is read alone") {
  const TemporaryFolder folder;
  // A sparse file of 1 TiB: whoever read it whole would not come back.
  constexpr std::int64_t side = std::int64_t{1} << 20;
  const std::filesystem::path path = folder.add("large", "");
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(side * side));
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(side * side - side - 2) << "\x7f\xff";
  const MappedArray array(path, {.image = {1, side, side}});
  std::vector<float> patch(4);
  array.read_patch(0, Place::at(side - 2, side - 2), {2, 2}, patch);
  CHECK(patch == std::vector<float>{127 / 127.5F - 1, 1, -1, -1});
}

TEST_CASE("PatchLoader hands out the patches that PatchSampler cuts from whole images") {
  const TemporaryFolder folder;
  const MappedArray array(two_images(folder), layout);
  for (const std::int64_t padding : {0, 2}) {
    const PatchLoader<B, MappedArray> loader(array, {}, {.seed = 5, .padding = padding});
    const DataOrder order({5}, 2);
    const PatchPlan plan{.patch = {3, 2}, .images = 7, .first_image = 4, .step = 9, .key = {5}};
    const PatchBatch<B> patches = loader.take(plan);
    const B::Tensor stored = all_images(array);
    std::vector<B::Tensor> images;
    for (std::uint64_t position = 4; position < 11; ++position) {
      images.push_back(B::slice(stored, 0, static_cast<std::int64_t>(order(position)), 1));
    }
    const PatchSampler<B> sampler(padding);
    const PatchBatch<B> expected =
        sampler({.images = B::concat(images, 0)}, sampler.places(plan, array.shape().size(), 7));
    CHECK(B::to_host(patches.images) == B::to_host(expected.images));
    CHECK(patches.places == expected.places);
  }
}

TEST_CASE("MappedArray and PatchLoader refuse what is wrong") {
  const TemporaryFolder folder;
  const std::filesystem::path path = two_images(folder);
  CHECK_ERROR(DataError, fmt::format("MappedArray: {}: expected at least 124 bytes, got 123", path.string()),
              MappedArray(path, {.count = 2, .image = {2, 5, 6}, .offset = 4}));
  CHECK_ERROR(DataError,
              fmt::format("MappedArray: {}: expected at least 18446744073709551616 bytes, got 123", path.string()),
              MappedArray(path, {.image = {std::int64_t{1} << 32, 1 << 16, 1 << 16}}));
  CHECK_ERROR(ShapeError, "MappedArray: layout: expected sizes of at least 1, got 0 of 2x5x6",
              MappedArray(path, {.count = 0, .image = {2, 5, 6}}));
  CHECK_THROWS_AS(MappedArray(folder / "missing", layout), FileError);
  const MappedArray array(path, layout);
  std::vector<float> out(60);
  CHECK_ERROR(DataError, "MappedArray: index: expected 0 to 1, got 2", array.read(2, out));
  out.resize(59);
  CHECK_ERROR(ShapeError, "MappedArray: out: expected 60 values, got 59", array.read(0, out));

  const float broken = std::numeric_limits<float>::infinity();
  std::string bytes(sizeof(broken), '\0');
  std::memcpy(bytes.data(), &broken, sizeof(broken));
  const MappedArray floats(folder.add("broken", bytes), {.image = {1, 1, 1}, .scalar = ArrayScalar::float32});
  const PatchLoader<B, MappedArray> loader(floats, {});
  CHECK_ERROR(DataError, "PatchLoader: images: expected finite values, got inf in image 0",
              loader.take({.patch = {1, 1}, .images = 1}));
  CHECK_ERROR(ShapeError, "PatchSampler: patch: expected at most 1x1, got 2x1",
              loader.take({.patch = {2, 1}, .images = 1}));
}

}  // namespace
}  // namespace patchdiff
