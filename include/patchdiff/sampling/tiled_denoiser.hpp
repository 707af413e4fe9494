// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/denoiser.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/sampling/tiling_options.hpp>
#include <patchdiff/sampling/window_grid.hpp>

namespace patchdiff {

/// Denoises images of any size window by window, as a denoiser around a denoiser: windows see their place in the full
/// image, and are fused at every call.
///
/// Samples go one by one, `chunk` windows in a call of the inner denoiser. Keeps a reference: the inner denoiser must
/// outlive it.
/// Draws: under Fusion::shifted two integers per noise level (`Purpose::window_shift`, keyed by the bits of sigma), so
/// that all calls at one level share a grid and a call depends on nothing but its arguments.
/// Cost: beside result and argument, one chunk's windows; see `plan_tiling`.
template <Denoiser Inner>
class TiledDenoiser {
 public:
  using Backend = typename Inner::Backend;
  using Tensor = typename Backend::Tensor;

  /// Errors: ConfigError for windows that are larger than the model's images, and settings that cannot work.
  TiledDenoiser(const Inner& inner, TilingOptions options) : inner_(&inner), options_(options) {
    const ImageSize window = options.window, image = inner.image().size();
    require<ConfigError>(window.height >= 1 && window.width >= 1 && fits(window, image), "TiledDenoiser", "window",
                         str("1x1 to ", to_string(image), ", the model's images"), to_string(window));
    const bool shifted = options.fusion == Fusion::shifted;
    require<ConfigError>(options.overlap >= 0 && options.overlap < std::min(window.height, window.width) &&
                             (!shifted || options.overlap == 0),
                         "TiledDenoiser", "overlap",
                         shifted ? "0 on a shifted grid" : str("0 to less than the windows' ", to_string(window)),
                         options.overlap);
    require<ConfigError>(options.chunk >= 1, "TiledDenoiser", "chunk", "at least 1", options.chunk);
  }
  TiledDenoiser(const Inner&&, TilingOptions) = delete;

  /// Errors: ShapeError for images that are smaller than a window, and a conditioning of other samples or pixels; what
  /// the inner denoiser throws.
  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning = {}) const {
    check(x, sigma, places, conditioning);
    const std::int64_t samples = Backend::shape(x).front();
    if (samples == 1) return fused(x, sigma[0], places.at[0], conditioning);
    std::vector<Tensor> all;
    for (std::int64_t sample = 0; sample < samples; ++sample) {
      const auto row = [&](const std::optional<Tensor>& rows) {
        return rows ? std::optional(Backend::slice(*rows, 0, sample, 1)) : std::nullopt;
      };
      const auto index = static_cast<std::size_t>(sample);
      all.push_back(
          fused(Backend::slice(x, 0, sample, 1), sigma[index], places.at[index],
                {row(conditioning.class_labels), row(conditioning.fields), row(conditioning.augment_labels)}));
    }
    return all.empty() ? x : Backend::concat(all, 0);
  }

  /// The windows over an image, or a part of one, of that size at a noise level.
  WindowGrid grid(ImageSize image, double sigma) const {
    ImageSize shift{};
    if (options_.fusion == Fusion::shifted) {
      const auto bits = std::bit_cast<std::uint64_t>(sigma);
      const RandomStream stream({options_.seed}, Purpose::window_shift, bits >> 20, bits & 0xFFFFF);
      const auto below = [&](std::int64_t length, std::uint64_t axis) {
        return static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(length), axis));
      };
      shift = {below(options_.window.height, 0), below(options_.window.width, 1)};
    }
    const auto axis = [&](std::int64_t extent, std::int64_t length, std::int64_t shifted) {
      return WindowAxis({.extent = extent,
                         .length = length,
                         .overlap = options_.overlap,
                         .shift = shifted,
                         .fusion = options_.fusion});
    };
    return {axis(image.height, options_.window.height, shift.height),
            axis(image.width, options_.window.width, shift.width)};
  }

  ImageShape image() const { return inner_->image(); }
  std::int64_t label_dim() const { return inner_->label_dim(); }
  bool null_label_trained() const { return patchdiff::null_label_trained(*inner_); }
  typename Backend::Device device() const { return inner_->device(); }
  const TilingOptions& options() const noexcept { return options_; }

 private:
  /// One sample from all of its windows.
  Tensor fused(const Tensor& x, double sigma, const Place& place, const Conditioning<Backend>& conditioning) const {
    const Shape shape = Backend::shape(x);
    const WindowGrid windows = grid({shape[2], shape[3]}, sigma);
    Tensor image = Backend::zeros(shape, Backend::device(x));
    for (std::int64_t first = 0; first < windows.count(); first += options_.chunk) {
      const std::int64_t count = std::min(options_.chunk, windows.count() - first);
      const std::vector<double> sigmas(static_cast<std::size_t>(count), sigma);
      Places cut{options_.window, {}}, seen{options_.window, {}};
      for (std::int64_t window = first; window < first + count; ++window) {
        const Place at = windows.place(window);
        cut.at.push_back(at);
        seen.at.push_back({place.top + at.top, place.left + at.left, place.to_image.after(at.to_image)});
      }
      const Tensor denoised = (*inner_)(crops(x, cut), sigmas, seen, of_windows(conditioning, cut));
      const Tensor shared = Backend::multiply(denoised, shares(windows, first, count, Backend::device(x)));
      for (std::int64_t window = 0; window < count; ++window) {
        Backend::accumulate_patches(image, Backend::slice(shared, 0, window, 1),
                                    {options_.window, {cut.at[static_cast<std::size_t>(window)]}});
      }
    }
    return image;
  }

  /// The windows of one image, [windows, C, h, w].
  static Tensor crops(const Tensor& image, const Places& places) {
    std::vector<Tensor> windows;
    for (const Place& place : places.at) windows.push_back(Backend::crop(image, {places.patch, {place}}));
    return Backend::concat(windows, 0);
  }

  /// What a sample is told, for each of its windows.
  static Conditioning<Backend> of_windows(const Conditioning<Backend>& sample, const Places& places) {
    const auto repeated = [&](const std::optional<Tensor>& row) -> std::optional<Tensor> {
      if (!row) return std::nullopt;
      return Backend::concat(std::vector<Tensor>(places.at.size(), *row), 0);
    };
    return {repeated(sample.class_labels), sample.fields ? std::optional(crops(*sample.fields, places)) : std::nullopt,
            repeated(sample.augment_labels)};
  }

  Tensor shares(const WindowGrid& windows, std::int64_t first, std::int64_t count,
                typename Backend::Device device) const {
    const auto pixels = static_cast<std::size_t>(pixel_count(options_.window));
    std::vector<double> values(static_cast<std::size_t>(count) * pixels);
    for (std::int64_t window = 0; window < count; ++window) {
      windows.write_shares(first + window,
                           std::span(values).subspan(static_cast<std::size_t>(window) * pixels, pixels));
    }
    return Backend::from_host(std::span<const double>(values),
                              {count, 1, options_.window.height, options_.window.width}, device);
  }

  void check(const Tensor& x, std::span<const double> sigma, const Places& places,
             const Conditioning<Backend>& conditioning) const {
    const Shape shape = Backend::shape(x);
    if (shape.size() != 4 || !fits(options_.window, {shape[2], shape[3]})) {
      refuse<ShapeError>("TiledDenoiser", "x", str("[N, C, H, W] of at least ", to_string(options_.window)),
                         to_string(shape));
    }
    if (static_cast<std::int64_t>(sigma.size()) != shape[0] || places.count() != shape[0]) {
      refuse<ShapeError>("TiledDenoiser", "x", str(sigma.size(), " samples, one per sigma and place"),
                         to_string(shape));
    }
    if (places.patch != ImageSize{shape[2], shape[3]}) {
      refuse<ShapeError>("TiledDenoiser", "places", str("patches of ", shape[2], 'x', shape[3]),
                         to_string(places.patch));
    }
    const auto require_rows = [&](std::string_view argument, const std::optional<Tensor>& rows) {
      if (!rows) return;
      const Shape got = Backend::shape(*rows);
      if (!got.empty() && got[0] == shape[0]) return;
      refuse<ShapeError>("TiledDenoiser", argument, str(shape[0], " rows"), to_string(got));
    };
    require_rows("class_labels", conditioning.class_labels);
    require_rows("augment_labels", conditioning.augment_labels);
    if (!conditioning.fields) return;
    const Shape fields = Backend::shape(*conditioning.fields);
    if (fields.size() != 4 || fields != Shape{shape[0], fields[1], shape[2], shape[3]}) {
      refuse<ShapeError>("TiledDenoiser", "fields", str('[', shape[0], ", F, ", shape[2], ", ", shape[3], ']'),
                         to_string(fields));
    }
  }

  const Inner* inner_;
  TilingOptions options_;
};

}  // namespace patchdiff
