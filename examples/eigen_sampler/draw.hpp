// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/sample_request.hpp>

#include "cli/settings.hpp"

using B = patchdiff::EigenBackend<float>;
using Denoiser = patchdiff::AnyDenoiser<B>;

/// What to draw of a model.
struct DrawOptions {
  SamplingSettings sampling{};
  std::vector<std::int64_t> classes{};       ///< one per row; of a model without classes, none
  std::vector<std::int64_t> window{};        ///< top, left, height, width; empty: the whole image
  patchdiff::Normalization normalization{};  ///< undone in what is drawn; empty: none
};

/// Images with values as they are stored, [N, C, H, W], and how many of them make a row.
struct Drawn {
  patchdiff::Shape shape{};
  std::vector<float> values{};
  std::int64_t columns = 1;
};

/// Samples of seeds from the settings' seed on, a row per class.
inline Drawn draw(const Denoiser& denoiser, const DrawOptions& options) {
  const patchdiff::ODESampler sampler({.num_steps = options.sampling.steps},
                                      patchdiff::NamedSolver{options.sampling.solver});
  const patchdiff::ImageShape image = denoiser.image();
  patchdiff::Window window{0, 0, image.height, image.width};
  if (const auto& part = options.window; !part.empty()) window = {part[0], part[1], part[2], part[3]};
  const std::int64_t of_class = options.sampling.count;
  const std::int64_t count = of_class * std::max<std::int64_t>(1, std::ssize(options.classes));
  Drawn drawn{{count, image.channels, window.height, window.width}, {}, of_class};
  if (options.classes.empty()) drawn.columns = std::llround(std::ceil(std::sqrt(static_cast<double>(count))));
  drawn.values.reserve(static_cast<std::size_t>(patchdiff::element_count(drawn.shape)));  // before the work
  constexpr std::int64_t at_once = 16;
  for (std::int64_t first = 0; first < count; first += at_once) {
    const std::int64_t last = std::min(first + at_once, count);
    patchdiff::SampleRequest<B> request{
        .seeds = patchdiff::seed_range(options.sampling.seed + static_cast<std::uint64_t>(first),
                                       static_cast<std::size_t>(last - first)),
        .window = window};
    if (!options.classes.empty()) {
      std::vector<std::int64_t> labels;
      for (std::int64_t n = first; n < last; ++n) {
        labels.push_back(options.classes[static_cast<std::size_t>(n / of_class)]);
      }
      request.conditioning.class_labels = patchdiff::one_hot_labels<B>(labels, denoiser.label_dim(), denoiser.device());
    }
    const std::vector<double> samples = B::Wide::to_host(sampler(denoiser, request));
    for (const double value : samples) {
      drawn.values.push_back(static_cast<float>(value));
    }
  }
  if (!options.normalization.mean.empty()) {
    options.normalization.undo(drawn.values, static_cast<std::size_t>(pixel_count(window.size())));
  }
  return drawn;
}
