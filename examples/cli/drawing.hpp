// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <utility>
#include <vector>

#include <patchdiff/core/flow.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/log.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/io/picture.hpp>
#include <patchdiff/sampling/window.hpp>

#include "as_stored.hpp"
#include "drawn.hpp"
#include "image_sampler.hpp"
#include "settings.hpp"
#include "window_settings.hpp"

/// Where a drawing stands after a step of the sampler.
struct DrawingProgress {
  std::int64_t step = 0;  ///< steps done, over all of the drawing's parts
  std::int64_t num_steps = 0;
  double sigma = 0;                                ///< noise level of the step
  std::function<patchdiff::Picture()> estimate{};  ///< the images as they are estimated now, grey where not begun
};

/// Called after each step; what it throws ends the drawing.
using DrawingCallback = std::function<void(const DrawingProgress&)>;

/// What is drawn of a model, and how.
struct DrawingOptions {
  std::vector<std::int64_t> classes{};  ///< one per row; of a model without classes, none
  SamplingSettings sampling{};
  WindowSettings windows{};
  patchdiff::Normalization normalization{};  ///< undone in what is drawn; empty: none
};

/// The part of each image that is drawn.
inline patchdiff::Window window_of(patchdiff::ImageShape image, const WindowSettings& windows) {
  const auto& part = windows.window;
  if (part.empty()) return {0, 0, image.height, image.width};
  return {part[0], part[1], part[2], part[3]};
}

/// What is to be drawn of a model's images, without values yet. Errors: std::bad_alloc for more than any memory holds.
inline Drawn planned(patchdiff::ImageShape image, const DrawingOptions& options) {
  const patchdiff::Window window = window_of(image, options.windows);
  const std::int64_t count = options.sampling.count;
  double values = static_cast<double>(image.channels * std::max<std::int64_t>(1, std::ssize(options.classes)));
  for (const std::int64_t factor : {count, window.height, window.width}) values *= static_cast<double>(factor);
  if (values > 0x1p60) throw std::bad_alloc{};  // sizes of 64 bits count no further
  Drawn drawn{.shape = {count, image.channels, window.height, window.width}};
  if (options.classes.empty()) {
    drawn.columns = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(count))));
  } else {
    drawn.shape[0] *= std::ssize(options.classes);
    drawn.columns = count;
  }
  return drawn;
}

/// Samples of seeds from the settings' seed on, `count` of each class, a class a row; of a model without classes, a
/// square.
template <patchdiff::Denoiser Model>
class Drawing {
 public:
  /// Takes the memory of all images. Errors: those of the components that draw.
  Drawing(const Model& model, const DrawingOptions& options, const patchdiff::Log& log)
      : options_(options),
        window_(window_of(model.image(), options.windows)),
        drawn_(planned(model.image(), options)),
        sampler_(model, options.sampling, options.windows, labels(options), log) {
    drawn_.values.resize(static_cast<std::size_t>(patchdiff::element_count(drawn_.shape)));
  }

  Drawn draw(const DrawingCallback& callback = {}) && {
    const std::int64_t count = drawn_.shape[0], at_once = images_at_once(window_.size());
    const std::int64_t parts = (count + at_once - 1) / at_once;
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
                      return picture_of(drawn_);
                    }});
        }
        return patchdiff::Flow::proceed;
      };
      keep(first, sampler_(first, std::min(at_once, count - first), window_, watch));
    }
    return std::move(drawn_);
  }

 private:
  using Wide = typename Model::Backend::Wide;

  static std::vector<std::int64_t> labels(const DrawingOptions& options) {
    std::vector<std::int64_t> labels;
    for (const std::int64_t label : options.classes) {
      labels.insert(labels.end(), static_cast<std::size_t>(options.sampling.count), label);
    }
    return labels;
  }

  /// Takes images, from number `first` on, as they are stored.
  void keep(std::int64_t first, const typename Wide::Tensor& images) {
    const std::vector<float> values = as_stored<Wide>(images, options_.normalization);
    const std::int64_t image = drawn_.shape[1] * pixel_count(window_.size());
    std::copy(values.begin(), values.end(), drawn_.values.begin() + first * image);
  }

  DrawingOptions options_;
  patchdiff::Window window_;
  Drawn drawn_;
  ImageSampler<Model> sampler_;
};
