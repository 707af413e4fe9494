// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/data/dataset_statistics.hpp>
#include <patchdiff/io/npy_writer.hpp>
#include <patchdiff/nn/codec.hpp>

namespace patchdiff {

/// Writes the latents of all images to an NPY file, [N, c, h, w] in float32, and measures them.
///
/// MappedArray reads the file, `Normalization::of(statistics, sigma_data)` is the scale and shift of latents that
/// brings them to a deviation of sigma_data by channel, and RelabelledDataset gives them the images' classes.
/// `at_once`: images in a call of the codec. Errors: FileError; ShapeError for latents that are not of `latent_shape`,
/// DataError for latents that are not finite, and those of the codec and the data set; after any no file is written.
template <Codec C, Dataset Source>
DatasetStatistics encode_dataset(const C& codec, const Source& source, const std::filesystem::path& path,
                                 std::int64_t at_once = 64) {
  using B = typename C::Backend;
  require<ConfigError>(at_once >= 1, "encode_dataset", "at_once", "at least 1", at_once);
  const ImageShape image = source.shape(), latent = codec.latent_shape(image);
  const auto image_values = static_cast<std::size_t>(value_count(image));
  const auto latent_values = static_cast<std::size_t>(value_count(latent));
  DatasetStatistics statistics(latent.channels);
  NpyWriter file(path, {source.size(), latent.channels, latent.height, latent.width});
  std::vector<float> images;
  for (std::int64_t first = 0; first < source.size(); first += at_once) {
    const std::int64_t count = std::min(at_once, source.size() - first);
    images.resize(static_cast<std::size_t>(count) * image_values);
    for (std::int64_t index = 0; index < count; ++index) {
      source.read(first + index,
                  std::span(images).subspan(static_cast<std::size_t>(index) * image_values, image_values));
    }
    const auto encoded = codec.encode(B::from_host(std::span<const float>(images),
                                                   {count, image.channels, image.height, image.width}, codec.device()));
    const Shape expected{count, latent.channels, latent.height, latent.width};
    if (B::shape(encoded) != expected) {
      refuse<ShapeError>("encode_dataset", "codec", str("latents of ", to_string(expected)),
                         to_string(B::shape(encoded)));
    }
    const std::vector<double> values = B::to_host(encoded);
    const std::vector<float> latents(values.begin(), values.end());
    for (std::int64_t index = 0; index < count; ++index) {
      const auto one = std::span(latents).subspan(static_cast<std::size_t>(index) * latent_values, latent_values);
      require_finite("encode_dataset", one, first + index);
      statistics.add(one);
    }
    file.write(latents);
  }
  file.commit();
  return statistics;
}

}  // namespace patchdiff
