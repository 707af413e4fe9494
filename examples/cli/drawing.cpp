// SPDX-License-Identifier: Apache-2.0
#include "drawing.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

namespace pd = patchdiff;

namespace {

/// Samples of seeds from the settings' seed on, one per label, or `count` without labels.
std::vector<double> draw(const Denoiser& denoiser, const std::vector<std::int64_t>& labels, std::int64_t count,
                         const SamplingSettings& settings) {
  constexpr std::int64_t at_once = 100;
  const pd::ODESampler sampler{{.num_steps = settings.steps}};
  std::vector<double> values;
  for (std::int64_t first = 0; first < count; first += at_once) {
    const std::int64_t part = std::min(at_once, count - first);
    pd::SampleRequest<B> request{
        .seeds = pd::seed_range(settings.seed + static_cast<std::uint64_t>(first), static_cast<std::size_t>(part))};
    at::Tensor images;
    if (labels.empty()) {
      images = sampler(denoiser, request);
    } else {
      const auto begin = labels.begin() + first;
      request.conditioning.class_labels = pd::one_hot_labels<B>(std::vector<std::int64_t>(begin, begin + part),
                                                                denoiser.label_dim(), denoiser.device());
      images = sampler(pd::GuidedDenoiser(denoiser, settings.guidance), request);
    }
    const std::vector<double> drawn = B::to_host(images);
    values.insert(values.end(), drawn.begin(), drawn.end());
  }
  return values;
}

}  // namespace

pd::Picture draw_samples(const Denoiser& denoiser, const std::vector<std::int64_t>& classes,
                         const SamplingSettings& settings) {
  std::vector<std::int64_t> labels;
  for (const std::int64_t label : classes) labels.insert(labels.end(), static_cast<std::size_t>(settings.count), label);
  const bool labelled = !labels.empty();
  const std::int64_t count = labelled ? static_cast<std::int64_t>(labels.size()) : settings.count;
  const auto square = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  const auto [channels, height, width] = denoiser.image();
  const pd::ImageGrid grid(
      {.columns = labelled ? settings.count : square, .scale = std::max<std::int64_t>(1, 96 / width)});
  return grid(draw(denoiser, labels, count, settings), {count, channels, height, width});
}

std::vector<std::int64_t> all_classes(const Denoiser& denoiser) {
  std::vector<std::int64_t> classes(static_cast<std::size_t>(denoiser.label_dim()));
  std::iota(classes.begin(), classes.end(), 0);
  return classes;
}
