// SPDX-License-Identifier: Apache-2.0
#include "drawing.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include <patchdiff/core/flow.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/window.hpp>

namespace pd = patchdiff;

namespace {

/// Samples of seeds from the settings' seed on, one per label, drawn in parts into one picture.
class Drawing {
 public:
  Drawing(const Denoiser& denoiser, DrawingOptions options, const pd::Log& log)
      : denoiser_(&denoiser), options_(std::move(options)), window_(window()) {
    for (const std::int64_t label : options_.classes) {
      labels_.insert(labels_.end(), static_cast<std::size_t>(options_.sampling.count), label);
    }
    count_ = labels_.empty() ? options_.sampling.count : static_cast<std::int64_t>(labels_.size());
    if (!labels_.empty()) guided_.emplace(denoiser, options_.sampling.guidance, pd::GuidanceInterval{}, log);
    values_.resize(static_cast<std::size_t>(count_ * value_count(shown())));
  }

  void draw(const DrawingCallback& callback) {
    const std::int64_t at_once = std::clamp<std::int64_t>(102'400 / pixel_count(window_.size()), 1, 100);
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
      keep(first, images(first, std::min(at_once, count_ - first), watch));
    }
  }

  pd::Picture picture() const {
    const auto square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count_))));
    const auto [channels, height, width] = shown();
    const pd::ImageGrid grid(
        {.columns = guided_ ? options_.sampling.count : square, .scale = std::max<std::int64_t>(1, 96 / width)});
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

  template <class Callback>
  at::Tensor images(std::int64_t first, std::int64_t count, const Callback& callback) const {
    const SamplingSettings& settings = options_.sampling;
    const pd::ODESampler sampler({.num_steps = settings.steps}, pd::NamedSolver{settings.solver});
    pd::SampleRequest<B> request{
        .seeds = pd::seed_range(settings.seed + static_cast<std::uint64_t>(first), static_cast<std::size_t>(count))};
    if (window_.size() != denoiser_->image().size()) request.window = window_;
    if (!guided_) return sampler(*denoiser_, request, callback);
    const auto begin = labels_.begin() + first;
    request.conditioning.class_labels = pd::one_hot_labels<B>(std::vector<std::int64_t>(begin, begin + count),
                                                              denoiser_->label_dim(), denoiser_->device());
    return sampler(*guided_, request, callback);
  }

  /// Takes images, from number `first` on, as they are stored.
  void keep(std::int64_t first, const at::Tensor& images) {
    const std::vector<double> drawn = B::to_host(images);
    std::vector<float> stored(drawn.begin(), drawn.end());
    const auto pixels = static_cast<std::size_t>(pixel_count(window_.size()));
    if (!options_.normalization.mean.empty()) options_.normalization.undo(stored, pixels);
    const auto channels = static_cast<std::size_t>(denoiser_->image().channels);
    const auto values = static_cast<std::size_t>(value_count(shown()));
    auto out = values_.begin() + first * static_cast<std::int64_t>(values);
    for (std::size_t at = 0; at < stored.size(); at += channels * pixels) {
      out = std::copy_n(stored.begin() + static_cast<std::ptrdiff_t>(at), values, out);
    }
  }

  const Denoiser* denoiser_;
  DrawingOptions options_;
  pd::Window window_;
  std::vector<std::int64_t> labels_{};
  std::int64_t count_ = 0;
  std::optional<pd::GuidedDenoiser<const Denoiser>> guided_{};
  std::vector<float> values_{};
};

}  // namespace

pd::Picture draw_samples(const Denoiser& denoiser, const DrawingOptions& options, const pd::Log& log,
                         const DrawingCallback& callback) {
  Drawing drawing(denoiser, options, log);
  drawing.draw(callback);
  return drawing.picture();
}

std::vector<std::int64_t> all_classes(const Denoiser& denoiser) {
  std::vector<std::int64_t> classes(static_cast<std::size_t>(denoiser.label_dim()));
  std::iota(classes.begin(), classes.end(), 0);
  return classes;
}
