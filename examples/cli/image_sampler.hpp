// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/sample_request.hpp>
#include <patchdiff/sampling/tiled_denoiser.hpp>
#include <patchdiff/sampling/window.hpp>

#include "settings.hpp"
#include "window_settings.hpp"

/// How many images are worked on at once.
inline std::int64_t images_at_once(patchdiff::ImageSize size) {
  return std::clamp<std::int64_t>(102'400 / pixel_count(size), 1, 100);
}

/// Draws a model's samples of seeds from the settings' seed on, in parts.
///
/// Guidance and tiles are denoisers around the model's; each refers to the one inside, so this stays where it is.
template <patchdiff::Denoiser Model>
class ImageSampler {
 public:
  using Backend = typename Model::Backend;

  /// `labels`: one per sample; none of a model without classes. The log hears what GuidedDenoiser says.
  ImageSampler(const Model& model, const SamplingSettings& settings, const WindowSettings& windows,
               std::vector<std::int64_t> labels, const patchdiff::Log& log)
      : model_(&model), settings_(settings), labels_(std::move(labels)) {
    if (!labels_.empty()) {
      guided_.emplace(patchdiff::GuidedDenoiser(model, settings.guidance, patchdiff::GuidanceInterval{}, log));
    }
    if (windows.tile == 0) return;
    const patchdiff::TilingOptions tiling{.window = {windows.tile, windows.tile}, .overlap = windows.overlap};
    if (guided_) {
      tiled_.emplace(patchdiff::TiledDenoiser(*guided_, tiling));
    } else {
      tiled_.emplace(patchdiff::TiledDenoiser(model, tiling));
    }
  }

  ImageSampler(const ImageSampler&) = delete;
  ImageSampler& operator=(const ImageSampler&) = delete;

  /// The samples first, first + 1, ..., or a window of each; values as of the model's training.
  template <class Callback = std::nullptr_t>
  typename Backend::Wide::Tensor operator()(std::int64_t first, std::int64_t count,
                                            std::optional<patchdiff::Window> window = {},
                                            const Callback& callback = {}) const {
    const patchdiff::ODESampler sampler({.num_steps = settings_.steps}, patchdiff::NamedSolver{settings_.solver});
    patchdiff::SampleRequest<Backend> request{
        .seeds =
            patchdiff::seed_range(settings_.seed + static_cast<std::uint64_t>(first), static_cast<std::size_t>(count)),
        .window = window};
    if (!labels_.empty()) {
      const auto begin = labels_.begin() + first;
      request.conditioning.class_labels = patchdiff::one_hot_labels<Backend>(
          std::vector<std::int64_t>(begin, begin + count), model_->label_dim(), model_->device());
    }
    if (tiled_) return sampler(*tiled_, request, callback);
    if (guided_) return sampler(*guided_, request, callback);
    return sampler(*model_, request, callback);
  }

 private:
  const Model* model_;
  SamplingSettings settings_;
  std::vector<std::int64_t> labels_;
  std::optional<patchdiff::AnyDenoiser<Backend>> guided_{}, tiled_{};
};
