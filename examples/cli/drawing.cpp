// SPDX-License-Identifier: Apache-2.0
#include "drawing.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <optional>
#include <utility>

#include <patchdiff/core/flow.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

namespace pd = patchdiff;

namespace {

/// Samples of seeds from the settings' seed on, one per label, drawn in parts into one picture.
class Drawing {
 public:
  Drawing(const Denoiser& denoiser, std::vector<std::int64_t> labels, std::int64_t count,
          const SamplingSettings& settings, const pd::Log& log)
      : denoiser_(&denoiser), labels_(std::move(labels)), count_(count), settings_(settings) {
    if (!labels_.empty()) guided_.emplace(denoiser, settings.guidance, pd::GuidanceInterval{}, log);
    const auto [channels, height, width] = denoiser.image();
    values_.resize(static_cast<std::size_t>(count * channels * height * width));
  }

  void draw(const DrawingCallback& callback) {
    constexpr std::int64_t at_once = 100;
    const std::int64_t parts = (count_ + at_once - 1) / at_once;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = part * at_once;
      const auto watch = [&](const auto& progress) {
        if (callback) {
          callback({.step = part * settings_.steps + progress.step,
                    .num_steps = parts * settings_.steps,
                    .sigma = progress.sigma,
                    .estimate = [&] {
                      keep(first, progress.denoised);
                      return picture();
                    }});
        }
        return pd::Flow::proceed;
      };
      const at::Tensor drawn = images(first, std::min(at_once, count_ - first), watch);
      keep(first, drawn);
    }
  }

  pd::Picture picture() const {
    const auto square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count_))));
    const auto [channels, height, width] = denoiser_->image();
    const pd::ImageGrid grid(
        {.columns = guided_ ? settings_.count : square, .scale = std::max<std::int64_t>(1, 96 / width)});
    return grid(values_, {count_, channels, height, width});
  }

 private:
  template <class Callback>
  at::Tensor images(std::int64_t first, std::int64_t count, const Callback& callback) const {
    const pd::ODESampler sampler({.num_steps = settings_.steps}, pd::NamedSolver{settings_.solver});
    pd::SampleRequest<B> request{
        .seeds = pd::seed_range(settings_.seed + static_cast<std::uint64_t>(first), static_cast<std::size_t>(count))};
    if (!guided_) return sampler(*denoiser_, request, callback);
    const auto begin = labels_.begin() + first;
    request.conditioning.class_labels = pd::one_hot_labels<B>(std::vector<std::int64_t>(begin, begin + count),
                                                              denoiser_->label_dim(), denoiser_->device());
    return sampler(*guided_, request, callback);
  }

  void keep(std::int64_t first, const at::Tensor& images) {
    const std::vector<double> drawn = B::to_host(images);
    std::copy(drawn.begin(), drawn.end(), values_.begin() + first * static_cast<std::int64_t>(values_.size()) / count_);
  }

  const Denoiser* denoiser_;
  std::vector<std::int64_t> labels_;
  std::int64_t count_;
  SamplingSettings settings_;
  std::optional<pd::GuidedDenoiser<const Denoiser>> guided_{};
  std::vector<double> values_{};
};

}  // namespace

pd::Picture draw_samples(const Denoiser& denoiser, const std::vector<std::int64_t>& classes,
                         const SamplingSettings& settings, const pd::Log& log, const DrawingCallback& callback) {
  std::vector<std::int64_t> labels;
  for (const std::int64_t label : classes) labels.insert(labels.end(), static_cast<std::size_t>(settings.count), label);
  const std::int64_t count = labels.empty() ? settings.count : static_cast<std::int64_t>(labels.size());
  Drawing drawing(denoiser, std::move(labels), count, settings, log);
  drawing.draw(callback);
  return drawing.picture();
}

std::vector<std::int64_t> all_classes(const Denoiser& denoiser) {
  std::vector<std::int64_t> classes(static_cast<std::size_t>(denoiser.label_dim()));
  std::iota(classes.begin(), classes.end(), 0);
  return classes;
}
