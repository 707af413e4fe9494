// SPDX-License-Identifier: Apache-2.0
#include "drawing.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>

#include <patchdiff/core/flow.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/sampling/window.hpp>

#include "image_sampler.hpp"

namespace pd = patchdiff;

namespace {

/// Samples of seeds from the settings' seed on, one per label, drawn in parts into one picture.
class Drawing {
 public:
  Drawing(const Denoiser& denoiser, DrawingOptions options, const pd::Log& log)
      : denoiser_(&denoiser),
        options_(std::move(options)),
        window_(window()),
        sampler_(denoiser, options_.sampling, labels(), log) {
    count_ = options_.sampling.count * std::max<std::int64_t>(1, static_cast<std::int64_t>(options_.classes.size()));
    values_.resize(static_cast<std::size_t>(count_ * value_count(shown())));
  }

  void draw(const DrawingCallback& callback) {
    const std::int64_t at_once = images_at_once(window_.size());
    const std::int64_t parts = (count_ + at_once - 1) / at_once;
    const std::int64_t steps = options_.sampling.steps;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = part * at_once;
      const auto watch = [&](const auto& progress) {
        if (callback) {
          callback({.step = part * steps + progress.step,
                    .num_steps = parts * steps,
                    .sigma = progress.sigma,
                    .estimate = [&] {
                      keep(first, progress.denoised);
                      return picture();
                    }});
        }
        return pd::Flow::proceed;
      };
      keep(first, sampler_(first, std::min(at_once, count_ - first), window_, watch));
    }
  }

  pd::Picture picture() const {
    const auto square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count_))));
    const auto [channels, height, width] = shown();
    const pd::ImageGrid grid({.columns = options_.classes.empty() ? square : options_.sampling.count,
                              .scale = std::max<std::int64_t>(1, 96 / width)});
    return grid(std::span<const float>(values_), {count_, channels, height, width});
  }

 private:
  /// The middle of the image, in sides that the network takes.
  pd::Window window() const {
    const auto [channels, height, width] = denoiser_->image();
    const std::int64_t divisor = denoiser_->network().size_divisor();
    const auto side = [&](std::int64_t whole) {
      return whole <= options_.longest_side ? whole : std::max(divisor, options_.longest_side / divisor * divisor);
    };
    return {(height - side(height)) / 2, (width - side(width)) / 2, side(height), side(width)};
  }

  pd::ImageShape shown() const {
    const std::int64_t channels = denoiser_->image().channels;
    return {channels < 3 ? 1 : 3, window_.height, window_.width};
  }

  std::vector<std::int64_t> labels() const {
    std::vector<std::int64_t> labels;
    for (const std::int64_t label : options_.classes) {
      labels.insert(labels.end(), static_cast<std::size_t>(options_.sampling.count), label);
    }
    return labels;
  }

  /// Takes images, from number `first` on, as they are stored.
  void keep(std::int64_t first, const at::Tensor& images) {
    const at::Tensor stored = as_stored(images, options_.normalization);
    const float* from = stored.data_ptr<float>();
    const auto pixels = static_cast<std::size_t>(pixel_count(window_.size()));
    const auto channels = static_cast<std::size_t>(denoiser_->image().channels);
    const auto values = static_cast<std::size_t>(value_count(shown()));
    auto out = values_.begin() + first * static_cast<std::int64_t>(values);
    for (std::int64_t image = 0; image < stored.size(0); ++image, from += channels * pixels) {
      out = std::copy_n(from, values, out);
    }
  }

  const Denoiser* denoiser_;
  DrawingOptions options_;
  pd::Window window_;
  ImageSampler sampler_;
  std::int64_t count_ = 0;
  std::vector<float> values_{};
};

}  // namespace

pd::Picture draw_samples(const Denoiser& denoiser, const DrawingOptions& options, const pd::Log& log,
                         const DrawingCallback& callback) {
  Drawing drawing(denoiser, options, log);
  drawing.draw(callback);
  return drawing.picture();
}
