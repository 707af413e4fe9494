// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/dataset.hpp>

namespace patchdiff {

/// Number, mean and sum of squared differences from the mean, of values that come in parts.
///
/// Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
struct Moments {
  std::int64_t count = 0;
  double mean = 0;
  double squares = 0;

  static Moments of(std::span<const float> values) noexcept {
    Moments moments{.count = static_cast<std::int64_t>(values.size())};
    if (values.empty()) return moments;
    double sum = 0;
    for (const float value : values) sum += value;
    moments.mean = sum / static_cast<double>(values.size());
    for (const float value : values) moments.squares += (value - moments.mean) * (value - moments.mean);
    return moments;
  }

  void merge(const Moments& other) noexcept {
    if (other.count == 0) return;
    const auto first = static_cast<double>(count);
    const auto second = static_cast<double>(other.count);
    const double shift = other.mean - mean;
    mean += shift * second / (first + second);
    squares += other.squares + shift * shift * first * second / (first + second);
    count += other.count;
  }

  double deviation() const noexcept { return count == 0 ? 0 : std::sqrt(squares / static_cast<double>(count)); }
};

/// Mean and standard deviation of images, by channel: streaming, and parts are merged.
///
/// Parts merged in one order give the same bits; other orders agree to rounding.
class DatasetStatistics {
 public:
  /// Errors: ConfigError for fewer than one channel.
  explicit DatasetStatistics(std::int64_t channels) {
    require<ConfigError>(channels >= 1, "DatasetStatistics", "channels", "at least 1", channels);
    channels_.resize(static_cast<std::size_t>(channels));
  }

  /// Adds one image, [C, H, W]. Errors: ShapeError for values that do not divide into the channels.
  void add(std::span<const float> image) {
    if (image.size() % channels_.size() != 0) {
      refuse<ShapeError>("DatasetStatistics", "image", str("a multiple of ", channels_.size(), " values"),
                         str(image.size()));
    }
    const std::size_t plane = image.size() / channels_.size();
    for (std::size_t channel = 0; channel < channels_.size(); ++channel) {
      channels_[channel].merge(Moments::of(image.subspan(channel * plane, plane)));
    }
  }

  /// Adds what was measured on other images. Errors: ShapeError for another number of channels.
  void merge(const DatasetStatistics& other) {
    if (other.channels_.size() != channels_.size()) {
      refuse<ShapeError>("DatasetStatistics", "other", str(channels_.size(), " channels"), str(other.channels_.size()));
    }
    for (std::size_t channel = 0; channel < channels_.size(); ++channel) {
      channels_[channel].merge(other.channels_[channel]);
    }
  }

  /// By channel.
  std::span<const Moments> channels() const noexcept { return channels_; }

  /// The standard deviation of all values of all channels about their common mean, EDM's sigma_data.
  double sigma_data() const noexcept {
    Moments all;
    for (const Moments& channel : channels_) all.merge(channel);
    return all.deviation();
  }

 private:
  std::vector<Moments> channels_{};
};

/// Reads all images of a data set and measures them. Errors: DataError for values that are not finite.
template <Dataset Source>
DatasetStatistics measure(const Source& source) {
  const ImageShape shape = source.shape();
  DatasetStatistics statistics(shape.channels);
  std::vector<float> image(static_cast<std::size_t>(value_count(shape)));
  for (std::int64_t index = 0; index < source.size(); ++index) {
    source.read(index, image);
    require_finite("measure", image, index);
    statistics.add(image);
  }
  return statistics;
}

}  // namespace patchdiff
