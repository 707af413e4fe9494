// SPDX-License-Identifier: Apache-2.0
#include <patchdiff/data/encode_dataset.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <patchdiff/data/array_dataset.hpp>
#include <patchdiff/data/dataset_statistics.hpp>
#include <patchdiff/data/mapped_array.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/data/normalized_dataset.hpp>
#include <patchdiff/data/npy_layout.hpp>
#include <patchdiff/data/relabelled_dataset.hpp>
#include <patchdiff/io/npy_writer.hpp>

#include "custom_backend/span_backend.hpp"
#include "support/catch.hpp"
#include "support/errors.hpp"
#include "support/temporary_folder.hpp"

namespace patchdiff {
namespace {

/// Two channels of each block of 2x2 pixels: their first and their last value.
struct Corners {
  using Backend = host::SpanBackend<float>;
  using Tensor = Backend::Tensor;

  float factor = 1;

  ImageShape latent_shape(ImageShape image) const { return {2, image.height / 2, image.width / 2}; }
  Backend::Device device() const { return {}; }
  Tensor encode(const Tensor& images) const {
    const std::int64_t count = images.shape[0], height = images.shape[2], width = images.shape[3];
    Tensor latents = Backend::zeros({count, 2, height / 2, width / 2}, {});
    auto out = latents.values.begin();
    for (std::int64_t sample = 0; sample < count; ++sample) {
      for (std::int64_t channel = 0; channel < 2; ++channel) {
        for (std::int64_t row = channel; row < height; row += 2) {
          for (std::int64_t column = channel; column < width; column += 2) {
            *out++ = factor * images.values[static_cast<std::size_t>((sample * height + row) * width + column)];
          }
        }
      }
    }
    return latents;
  }
  Tensor decode(const Tensor& latents) const { return latents; }
};
static_assert(Codec<Corners>);

/// Five images of 4x6 pixels, in two classes.
ArrayDataset images() {
  std::vector<std::uint8_t> pixels;
  for (int at = 0; at < 5 * 24; ++at) pixels.push_back(static_cast<std::uint8_t>(at * at * 7));
  return ArrayDataset({.shape = {1, 4, 6}, .pixels = std::move(pixels), .labels = {0, 1, 1, 0, 1}});
}

TEST_CASE("encode_dataset writes the latents of all images, whatever comes at once, and measures them") {
  const TemporaryFolder folder;
  const ArrayDataset source = images();
  const std::int64_t at_once = GENERATE(1, 2, 64);
  const auto path = folder / "latents.npy";
  const DatasetStatistics statistics = encode_dataset(Corners{}, source, path, at_once);
  const MappedArray latents(path, read_npy_layout(path));
  REQUIRE(latents.size() == 5);
  REQUIRE(latents.shape() == ImageShape{2, 2, 3});
  std::vector<float> image(24), latent(12);
  for (std::int64_t index = 0; index < 5; ++index) {
    source.read(index, image);
    latents.read(index, latent);
    for (std::size_t at = 0; at < 6; ++at) {
      CHECK(latent[at] == image[at / 3 * 12 + at % 3 * 2]);
      CHECK(latent[6 + at] == image[at / 3 * 12 + at % 3 * 2 + 7]);
    }
  }

  // Scale and shift to half a deviation, and the classes of the images.
  const Normalization normalization = Normalization::of(statistics, 0.5);
  const NormalizedDataset scaled(latents, normalization);
  const RelabelledDataset labelled(scaled, source);
  const DatasetStatistics measured = measure(labelled);
  for (const Moments& channel : measured.channels()) {
    CHECK(channel.mean == Approx(0).margin(1e-6));
    CHECK(channel.deviation() == Approx(0.5).epsilon(1e-6));
  }
  CHECK(labelled.class_count() == 2);
  CHECK(labelled.label(2) == 1);
  CHECK(has_regions(labelled));
  std::vector<float> patch(4);
  labelled.read_patch(4, Place::at(1, 1), {1, 2}, patch);
  scaled.read(4, latent);
  CHECK(patch == std::vector<float>{latent[4], latent[5], latent[10], latent[11]});
}

/// Latents that are one row short of what it says.
struct Short : Corners {
  Tensor encode(const Tensor& images) const {
    return Backend::zeros({images.shape[0], 2, images.shape[2] / 2 - 1, images.shape[3] / 2}, {});
  }
};

TEST_CASE("Latents of another shape than the codec says leave no file") {
  const TemporaryFolder folder;
  CHECK_ERROR(ShapeError, "encode_dataset: codec: expected latents of [2, 2, 2, 3], got [2, 2, 1, 3]",
              encode_dataset(Short{}, images(), folder / "latents.npy", 2));
  CHECK(folder.count() == 0);
}

TEST_CASE("Latents that are not finite leave no file") {
  const TemporaryFolder folder;
  const Corners codec{.factor = std::numeric_limits<float>::infinity()};
  CHECK_THROWS_WITH(encode_dataset(codec, images(), folder / "latents.npy"),
                    "encode_dataset: images: expected finite values, got -inf in image 0");
  CHECK(folder.count() == 0);
  CHECK_ERROR(ConfigError, "encode_dataset: at_once: expected at least 1, got 0",
              encode_dataset(Corners{}, images(), folder / "latents.npy", 0));
  const ArrayDataset source = images();
  const ArrayDataset fewer({.shape = {1, 4, 6}, .pixels = std::vector<std::uint8_t>(48), .labels = {0, 1}});
  CHECK_ERROR(DataError, "RelabelledDataset: labels: expected 5 labels, got 2", RelabelledDataset(source, fewer));
  CHECK_ERROR(ConfigError, "Normalization: sigma_data: expected a finite value > 0, got 0",
              Normalization::of(DatasetStatistics(1), 0));
}

TEST_CASE("NpyWriter takes as many values as its shape has") {
  const TemporaryFolder folder;
  const std::vector<float> values(7);
  NpyWriter file(folder / "a.npy", {2, 3});
  CHECK_ERROR(ShapeError, "NpyWriter: values: expected 6 more, got 7", file.write(values));
  file.write(std::span(values).first(4));
  CHECK_ERROR(ShapeError, "NpyWriter: values: expected 2 more, got 0", file.commit());
  file.write(std::span(values).first(2));
  file.commit();
  // The header ends at a multiple of 64 bytes, as NumPy writes it.
  const std::string bytes = folder.read("a.npy");
  CHECK(bytes.size() == 128 + 6 * sizeof(float));
  CHECK(bytes.substr(10, 59) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  CHECK(bytes[127] == '\n');
}

}  // namespace
}  // namespace patchdiff
