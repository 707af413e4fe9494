// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <patchdiff/core/log.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/data/any_dataset.hpp>
#include <patchdiff/diffusion/denoiser_wrapper.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/nn/song_unet_options.hpp>
#include <patchdiff/nn/torch/usable_precision.hpp>
#include <patchdiff/patch/coord_encoder.hpp>

#include "command_line.hpp"
#include "config_file.hpp"
#include "model.hpp"

/// Which values of the images a model is trained on.
enum class ImageScaling {
  as_stored,   ///< those in [-1, 1], and sigma_data as it is set
  measured,    ///< those in [-1, 1], and sigma_data as it is measured
  normalized,  ///< of mean 0 and deviation 1 by channel, hence a sigma_data of 1
};

constexpr std::array<patchdiff::NamedValue<ImageScaling>, 3> value_names(ImageScaling) noexcept {
  return {{{ImageScaling::as_stored, "as_stored"},
           {ImageScaling::measured, "measured"},
           {ImageScaling::normalized, "normalized"}}};
}

/// What a new model is; what follows from data and training is left out.
struct ModelSettings {
  ImageScaling image_scaling = ImageScaling::as_stored;
  patchdiff::SongUNetOptions network{
      .model_channels = 32, .channel_mult = {1, 1, 2}, .num_blocks = 1, .attn_resolutions = {8}, .dropout = 0};
  patchdiff::DenoiserOptions denoiser{.precision = patchdiff::processor_has_bfloat16() ? patchdiff::Precision::bfloat16
                                                                                       : patchdiff::Precision::float32};
  patchdiff::CoordOptions coords{};
  patchdiff::EDM edm{};

  /// The settings that belong to no component.
  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("image_scaling", self.image_scaling,
          "values as stored, with sigma_data as measured, or brought to mean 0 and deviation 1 by channel");
  }

  /// Adds all of them as options; `this` must outlive `given`.
  void add_to(CLI::App& command, GivenSettings& given);

  void write(ConfigText& config) const;

  /// A network of fresh weights for the images, which grow until all three patch sizes suit it; measures the images
  /// where the settings say so. The log says where the device lacks the precision.
  ///
  /// Errors: ConfigError for settings that cannot work, of sigma_data beside a measured one too.
  Model build(const patchdiff::AnyDataset& images, const TrainingSettings& training, const GivenSettings& given,
              patchdiff::TorchDevice device, const patchdiff::Log& log) const;
};
