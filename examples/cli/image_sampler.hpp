// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/diffusion/guided_denoiser.hpp>
#include <patchdiff/sampling/named_solver.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>
#include <patchdiff/sampling/window.hpp>

#include "model.hpp"
#include "settings.hpp"

/// How many images are worked on at once.
inline std::int64_t images_at_once(patchdiff::ImageSize size) {
  return std::clamp<std::int64_t>(102'400 / pixel_count(size), 1, 100);
}

/// Draws a model's samples of seeds from the settings' seed on, in parts.
class ImageSampler {
 public:
  /// `labels`: one per sample; none of a model without classes. The log hears what GuidedDenoiser says.
  ImageSampler(const Denoiser& denoiser, const SamplingSettings& settings, std::vector<std::int64_t> labels,
               const patchdiff::Log& log)
      : denoiser_(&denoiser), settings_(settings), labels_(std::move(labels)) {
    if (!labels_.empty()) guided_.emplace(denoiser, settings.guidance, patchdiff::GuidanceInterval{}, log);
  }

  /// The samples first, first + 1, ..., or a window of each; values as of the model's training.
  template <class Callback = std::nullptr_t>
  at::Tensor operator()(std::int64_t first, std::int64_t count, std::optional<patchdiff::Window> window = {},
                        const Callback& callback = {}) const {
    const patchdiff::ODESampler sampler({.num_steps = settings_.steps}, patchdiff::NamedSolver{settings_.solver});
    patchdiff::SampleRequest<B> request{
        .seeds =
            patchdiff::seed_range(settings_.seed + static_cast<std::uint64_t>(first), static_cast<std::size_t>(count)),
        .window = window};
    if (!guided_) return sampler(*denoiser_, request, callback);
    const auto begin = labels_.begin() + first;
    request.conditioning.class_labels = patchdiff::one_hot_labels<B>(std::vector<std::int64_t>(begin, begin + count),
                                                                     denoiser_->label_dim(), denoiser_->device());
    return sampler(*guided_, request, callback);
  }

 private:
  const Denoiser* denoiser_;
  SamplingSettings settings_;
  std::vector<std::int64_t> labels_;
  std::optional<patchdiff::GuidedDenoiser<const Denoiser>> guided_{};
};

/// Samples with values as they are stored, in host memory; a normalisation without channels is none.
inline at::Tensor as_stored(const at::Tensor& samples, const patchdiff::Normalization& normalization) {
  at::Tensor images = samples.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  if (!normalization.mean.empty()) {
    normalization.undo({images.data_ptr<float>(), static_cast<std::size_t>(images.numel())},
                       static_cast<std::size_t>(images.size(2) * images.size(3)));
  }
  return images;
}
