// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/core/train_state.hpp>
#include <patchdiff/patch/multiplier_rule.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

/// The published mixtures of patch sizes for images of one size.
struct PatchMixture {
  ImageSize image{};                                        ///< full image (or latent) in pixels
  double full_image_probability = 0.5;                      ///< p of the paper, in [0, 1]
  MultiplierRule multiplier = MultiplierRule::published();  ///< images per step, relative to the batch
  std::int64_t size_divisor = 1;                            ///< what the network needs sides to be divisible by
};

/// Patch sizes of the host's own choice.
struct PatchSizes {
  ImageSize image{};                                        ///< full image (or latent) in pixels
  std::vector<ImageSize> sizes{};                           ///< each at most as large as the image
  std::vector<double> probabilities{};                      ///< one per size, with sum 1; empty: uniform
  MultiplierRule multiplier = MultiplierRule::published();  ///< images per step, relative to the batch
  std::int64_t size_divisor = 1;                            ///< what the network needs sides to be divisible by
};

/// Decides the patch size of each step, one size for the whole mini-batch.
///
/// Sides of patches are rounded down to a multiple of `size_divisor`, but not below it; a patch of the image's own side
/// cannot be rounded, and is refused where it is drawn at all.
/// Draws: one uniform number per step (`Purpose::patch_size`) when stochastic, none when progressive.
/// Source: Patch Diffusion (arXiv 2304.12526), section 3.2.
class PatchSizeSchedule {
 public:
  /// The sizes R, R/2 and R/4 (per axis, rounded down, at least 1), drawn with probabilities p, 3 (1 - p) / 5 and
  /// 2 (1 - p) / 5.
  static PatchSizeSchedule stochastic(const PatchMixture& mixture) {
    return {three_sizes(mixture), "PatchSizeSchedule::stochastic", 0};
  }

  /// The same sizes from small to large: each one for its share of the run's `total_images`.
  static PatchSizeSchedule progressive(const PatchMixture& mixture, std::uint64_t total_images) {
    constexpr const char* component = "PatchSizeSchedule::progressive";
    return {ascending(three_sizes(mixture)), component, checked_total(component, total_images)};
  }

  /// The two sizes R and R/2 with probabilities p and 1 - p, as published for latent images.
  static PatchSizeSchedule stochastic_latents(const PatchMixture& mixture) {
    return {two_sizes(mixture), "PatchSizeSchedule::stochastic_latents", 0};
  }

  /// Sizes and probabilities of the host's own, drawn anew at each step.
  static PatchSizeSchedule stochastic_of(PatchSizes sizes) {
    return {std::move(sizes), "PatchSizeSchedule::stochastic_of", 0};
  }

  /// Sizes of the host's own from small to large, each one for its probability's share of the run.
  static PatchSizeSchedule progressive_of(PatchSizes sizes, std::uint64_t total_images) {
    constexpr const char* component = "PatchSizeSchedule::progressive_of";
    return {ascending(std::move(sizes)), component, checked_total(component, total_images)};
  }

  /// The step that comes next in a run; `batch` is the number of images of a full-size step.
  PatchPlan plan(const TrainState& state, std::int64_t batch) const {
    PatchPlan plan{.first_image = state.images, .step = state.step, .key = {state.seed}};
    const double position = total_images_ > 0 ? static_cast<double>(state.images) / static_cast<double>(total_images_)
                                              : plan.stream(Purpose::patch_size, 0).uniform(0);
    const std::size_t chosen = size_at(position);
    plan.patch = sizes_.sizes[chosen];
    plan.images = batch * multipliers_[chosen];
    return plan;
  }

  const ImageSize& image() const noexcept { return sizes_.image; }
  const std::vector<ImageSize>& sizes() const noexcept { return sizes_.sizes; }
  const std::vector<double>& probabilities() const noexcept { return sizes_.probabilities; }

  /// Images per step at each size, divided by the batch.
  const std::vector<std::int64_t>& multipliers() const noexcept { return multipliers_; }

  bool is_progressive() const noexcept { return total_images_ > 0; }

 private:
  PatchSizeSchedule(PatchSizes sizes, const char* component, std::uint64_t total_images)
      : sizes_(std::move(sizes)), total_images_(total_images) {
    check_sizes(component);
    check_probabilities(component);
    round_sizes(component);
    for (const ImageSize size : sizes_.sizes) {
      const std::int64_t multiplier = sizes_.multiplier(sizes_.image, size);
      if (multiplier < 1) {
        refuse<ConfigError>(component, "multiplier", "at least 1",
                            str(multiplier, " for patches of ", to_string(size)));
      }
      multipliers_.push_back(multiplier);
    }
  }

  void check_sizes(const char* component) const {
    if (sizes_.image.height < 1 || sizes_.image.width < 1) {
      refuse<ConfigError>(component, "image", "at least one pixel", to_string(sizes_.image));
    }
    require<ConfigError>(!sizes_.sizes.empty(), component, "sizes", "at least one size", "none");
    for (const ImageSize size : sizes_.sizes) {
      if (size.height < 1 || size.width < 1) {
        refuse<ConfigError>(component, "sizes", "patches of at least one pixel",
                            str(to_string(size), " for an image of ", to_string(sizes_.image)));
      }
      if (!fits(size, sizes_.image)) {
        refuse<ConfigError>(component, "sizes", str("patches of at most ", to_string(sizes_.image)), to_string(size));
      }
    }
  }

  void check_probabilities(const char* component) {
    std::vector<double>& probabilities = sizes_.probabilities;
    if (probabilities.empty()) {
      probabilities.assign(sizes_.sizes.size(), 1.0 / static_cast<double>(sizes_.sizes.size()));
    }
    if (probabilities.size() != sizes_.sizes.size()) {
      refuse<ConfigError>(component, "probabilities", str(sizes_.sizes.size(), " values, one per size"),
                          str(probabilities.size()));
    }
    double sum = 0;
    for (const double probability : probabilities) {
      require<ConfigError>(probability >= 0 && probability <= 1, component, "probabilities", "values in [0, 1]",
                           probability);
      sum += probability;
    }
    require<ConfigError>(std::abs(sum - 1) <= 1e-9, component, "probabilities", "a sum of 1", sum);
  }

  void round_sizes(const char* component) {
    const std::int64_t divisor = sizes_.size_divisor;
    require<ConfigError>(divisor >= 1, component, "size_divisor", "at least 1", divisor);
    const auto rounded = [&](std::int64_t side, std::int64_t full, double probability) {
      const std::int64_t multiple = std::max(divisor, side / divisor * divisor);
      if (probability > 0 && (multiple > full || (side == full && multiple != full))) {
        refuse<ConfigError>(component, "image", str("sides divisible by ", divisor, ", as the network needs"),
                            to_string(sizes_.image));
      }
      return multiple;
    };
    for (std::size_t index = 0; index < sizes_.sizes.size(); ++index) {
      ImageSize& size = sizes_.sizes[index];
      const double probability = sizes_.probabilities[index];
      size = {rounded(size.height, sizes_.image.height, probability),
              rounded(size.width, sizes_.image.width, probability)};
    }
  }

  /// The first size whose cumulative probability reaches `position`; beyond 1 it is the last size.
  std::size_t size_at(double position) const noexcept {
    double cumulative = 0;
    std::size_t last = 0;
    for (std::size_t index = 0; index < sizes_.sizes.size(); ++index) {
      if (sizes_.probabilities[index] <= 0) continue;
      last = index;
      cumulative += sizes_.probabilities[index];
      if (position <= cumulative) break;
    }
    return last;
  }

  static double checked_probability(const PatchMixture& mixture) {
    const double p = mixture.full_image_probability;
    require<ConfigError>(p >= 0 && p <= 1, "PatchMixture", "full_image_probability", "a value in [0, 1]", p);
    return p;
  }

  static ImageSize divided(ImageSize size, std::int64_t divisor) noexcept {
    return {std::max<std::int64_t>(1, size.height / divisor), std::max<std::int64_t>(1, size.width / divisor)};
  }

  static PatchSizes three_sizes(const PatchMixture& mixture) {
    const double p = checked_probability(mixture);
    return {mixture.image,
            {mixture.image, divided(mixture.image, 2), divided(mixture.image, 4)},
            {p, 3 * (1 - p) / 5, 2 * (1 - p) / 5},
            mixture.multiplier,
            mixture.size_divisor};
  }

  static PatchSizes two_sizes(const PatchMixture& mixture) {
    const double p = checked_probability(mixture);
    return {mixture.image,
            {mixture.image, divided(mixture.image, 2)},
            {p, 1 - p},
            mixture.multiplier,
            mixture.size_divisor};
  }

  static std::uint64_t checked_total(const char* component, std::uint64_t total_images) {
    require<ConfigError>(total_images != 0, component, "total_images", "at least 1", "0");
    return total_images;
  }

  static PatchSizes ascending(PatchSizes sizes) {
    if (!sizes.probabilities.empty() && sizes.probabilities.size() != sizes.sizes.size())
      return sizes;  // refused later
    std::vector<std::size_t> order(sizes.sizes.size());
    for (std::size_t index = 0; index < order.size(); ++index) order[index] = index;
    // Not std::stable_sort: libstdc++ 12's own use of a deprecated function is a warning of Clang 19.
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::pair{pixel_count(sizes.sizes[a]), a} < std::pair{pixel_count(sizes.sizes[b]), b};
    });
    PatchSizes sorted = sizes;
    for (std::size_t index = 0; index < order.size(); ++index) {
      sorted.sizes[index] = sizes.sizes[order[index]];
      if (!sizes.probabilities.empty()) sorted.probabilities[index] = sizes.probabilities[order[index]];
    }
    return sorted;
  }

  PatchSizes sizes_;
  std::vector<std::int64_t> multipliers_;
  std::uint64_t total_images_;
};

}  // namespace patchdiff
