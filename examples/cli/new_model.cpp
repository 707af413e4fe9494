// SPDX-License-Identifier: Apache-2.0
#include "new_model.hpp"

#include <algorithm>
#include <cstddef>
#include <set>
#include <string_view>

#include <patchdiff/core/error.hpp>
#include <patchdiff/data/augmentation.hpp>
#include <patchdiff/data/dataset_statistics.hpp>
#include <patchdiff/data/normalization.hpp>
#include <patchdiff/data/padded_dataset.hpp>
#include <patchdiff/nn/torch/song_unet.hpp>

#include "image_source.hpp"

namespace pd = patchdiff;

namespace {

/// Settings of the network that follow from the data, and of the denoiser that follow from training.
const std::set<std::string_view> of_the_data{"in_channels", "out_channels", "label_dim", "augment_dim"};
const std::set<std::string_view> of_training{"null_label_trained"};

}  // namespace

void ModelSettings::add_to(CLI::App& command, GivenSettings& given) {
  constexpr const char* group = "Model";
  given.add_to(command, group, *this);
  given.add_to(command, group, network, of_the_data);
  given.add_to(command, group, denoiser, of_training);
  given.add_to(command, group, coords);
  given.add_to(command, group, edm);
}

void ModelSettings::write(ConfigText& config) const {
  config.table("model");
  config.add_all(*this);
  config.add_all(network, of_the_data);
  config.add_all(denoiser, of_training);
  config.add_all(coords);
  if (image_scaling == ImageScaling::as_stored) config.add_all(edm);
}

Model ModelSettings::build(const pd::AnyDataset& images, const TrainingSettings& training, const GivenSettings& given,
                           pd::TorchDevice device, const pd::Log& log) const {
  const std::vector<std::string>& names = given.names();
  if (image_scaling != ImageScaling::as_stored &&
      std::find(names.begin(), names.end(), "--sigma-data") != names.end()) {
    throw pd::ConfigError("train", "--sigma-data", "none beside --image-scaling " + setting_text(image_scaling),
                          setting_text(edm.sigma_data));
  }
  const pd::ImageShape stored = images.shape();
  pd::SongUNetOptions of_network = network;
  const std::size_t levels = std::min<std::size_t>(network.channel_mult.size(), 31);
  const std::int64_t divisor = std::int64_t{2} << levels;  // a quarter of the side, divisible by 2^(levels - 1)
  const auto grown = [&](std::int64_t side) { return (side + divisor - 1) / divisor * divisor; };
  of_network.image = {grown(stored.height), grown(stored.width)};
  of_network.in_channels = stored.channels + pd::CoordEncoder<B>(of_network.image, coords).channels();
  of_network.out_channels = stored.channels;
  of_network.label_dim = images.class_count();
  of_network.augment_dim = pd::Augmentation(training.augmentation()).label_dim();
  pd::DenoiserOptions options = denoiser;
  options.image = {stored.channels, of_network.image.height, of_network.image.width};
  options.coords = coords;
  options.precision = pd::usable_precision(denoiser.precision, device, log);
  pd::EDM formulation = edm;
  ModelRecord record;
  if (image_scaling != ImageScaling::as_stored) {
    const pd::DatasetStatistics statistics = measure_some(pd::AnyDataset(pd::PaddedDataset(images, of_network.image)));
    formulation.sigma_data = statistics.sigma_data();
    if (image_scaling == ImageScaling::normalized) {
      record.normalization = pd::Normalization::of(statistics);
      record.normalization.require_channels(static_cast<std::size_t>(stored.channels));
      formulation.sigma_data = 1;
    }
  }
  options.formulation = formulation;
  return {Denoiser(AnyUNet(pd::SongUNet(of_network, {training.seed}, device)), options), std::move(record)};
}
