// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/data/dataset_statistics.hpp>

namespace patchdiff {

/// Shift and scale by channel, by which images or latents are brought to mean 0 and one deviation, and back.
///
/// A model that trains on what `of(statistics)` makes has a sigma_data of 1.
struct Normalization {
  std::vector<double> mean{};
  std::vector<double> deviation{};  ///< what the difference from the mean is divided by

  /// What brings data of these statistics to a deviation of `sigma_data` in each channel; EDM's networks take 0.5.
  ///
  /// Errors: ConfigError unless that is finite and > 0.
  static Normalization of(const DatasetStatistics& statistics, double sigma_data = 1) {
    require<ConfigError>(sigma_data > 0 && std::isfinite(sigma_data), "Normalization", "sigma_data",
                         "a finite value > 0", sigma_data);
    Normalization measured;
    for (const Moments& channel : statistics.channels()) {
      measured.mean.push_back(channel.mean);
      measured.deviation.push_back(channel.deviation() / sigma_data);
    }
    return measured;
  }

  /// Errors: ConfigError unless there are a finite mean and a deviation above 0 for each of so many channels.
  void require_channels(std::size_t channels) const {
    if (mean.size() != channels || deviation.size() != channels) {
      refuse<ConfigError>("Normalization", "mean and deviation", str(channels, " each"),
                          str(mean.size(), " and ", deviation.size()));
    }
    for (std::size_t channel = 0; channel < channels; ++channel) {
      if (!std::isfinite(mean[channel]) || !std::isfinite(deviation[channel]) || deviation[channel] <= 0) {
        refuse<ConfigError>("Normalization", str("channel ", channel), "a finite mean and a deviation above 0",
                            str(mean[channel], " and ", deviation[channel]));
      }
    }
  }

  /// From stored values of one channel to those that a model is trained on.
  void apply(std::span<float> plane, std::size_t channel) const noexcept {
    const double centre = mean[channel], scale = deviation[channel];
    for (float& value : plane) value = static_cast<float>((value - centre) / scale);
  }

  /// Turns images that a model has drawn, [N, C, H, W] with so many pixels each, into values as they are stored.
  ///
  /// Errors: ConfigError as of `require_channels`; ShapeError for values that are not whole images.
  void undo(std::span<float> images, std::size_t pixels) const {
    require_channels(mean.size());
    const std::size_t values = mean.size() * pixels;
    if (values == 0 || images.size() % values != 0) {
      refuse<ShapeError>("Normalization", "images", str("a multiple of ", values, " values"), str(images.size()));
    }
    for (std::size_t at = 0; at < images.size(); ++at) {
      const std::size_t channel = at / pixels % mean.size();
      images[at] = static_cast<float>(images[at] * deviation[channel] + mean[channel]);
    }
  }

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("mean", self.mean, "mean of the stored values, by channel");
    visit("deviation", self.deviation, "what the difference from it is divided by, by channel");
  }

  friend bool operator==(const Normalization&, const Normalization&) = default;
};

}  // namespace patchdiff
