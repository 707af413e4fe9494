// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>

/// What the options of every U-Net have in common, on any backend.
namespace patchdiff::unet {

/// Lists the fields that the options of DDPM++, NCSN++ and ADM begin with.
template <class Options, class Visitor>
void describe_sizes(Options& self, Visitor& visit) {
  visit("image", self.image, "height and width of full images");
  visit("in_channels", self.in_channels, "image, coordinate and field channels");
  visit("out_channels", self.out_channels, "image channels");
  visit("label_dim", self.label_dim, "width of class labels, 0: none");
  visit("augment_dim", self.augment_dim, "width of augmentation labels, 0: none");
  visit("model_channels", self.model_channels, "width of the first level");
  visit("channel_mult", self.channel_mult, "width of each level, in model_channels");
  visit("num_blocks", self.num_blocks, "residual blocks a level");
  visit("attn_resolutions", self.attn_resolutions, "sides of the levels with attention");
  visit("dropout", self.dropout, "dropout probability");
}

/// No network is wider, and no product of two widths overflows.
constexpr std::int64_t largest_width = std::int64_t{1} << 20;
constexpr std::int64_t most_blocks = 1024;

/// The channels of each level of options that count them in model_channels.
template <class Options>
std::vector<std::int64_t> level_channels(const Options& options) {
  std::vector<std::int64_t> channels;
  for (const std::int64_t mult : options.channel_mult) channels.push_back(options.model_channels * mult);
  return channels;
}

/// What patches' sides must be divisible by.
template <class Options>
std::int64_t size_divisor(const Options& options) {
  return std::int64_t{1} << (options.channel_mult.size() - 1);
}

/// Errors: ConfigError of the component `network` for a value outside of [least, most].
inline void require_within(std::string_view network, std::string_view argument, std::int64_t value, std::int64_t least,
                           std::int64_t most) {
  if (value < least) refuse<ConfigError>(network, argument, str("at least ", least), str(value));
  if (value > most) refuse<ConfigError>(network, argument, str("at most ", most), str(value));
}

/// Checks channels, labels, blocks and levels. Errors: ConfigError of the component `network`.
template <class Options>
void check_options(std::string_view network, const Options& options) {
  require_within(network, "in_channels", options.in_channels, 1, largest_width);
  require_within(network, "out_channels", options.out_channels, 1, largest_width);
  require_within(network, "label_dim", options.label_dim, 0, largest_width);
  require_within(network, "model_channels", options.model_channels, 4, largest_width);
  require<ConfigError>(options.model_channels % 4 == 0, network, "model_channels", "a multiple of 4",
                       options.model_channels);
  require_within(network, "num_blocks", options.num_blocks, 1, most_blocks);
  require<ConfigError>(!options.channel_mult.empty() && options.channel_mult.size() < 32, network, "channel_mult",
                       "1 to 31 levels", options.channel_mult.size());
  for (const std::int64_t mult : options.channel_mult) {
    require<ConfigError>(mult >= 1, network, "channel_mult", "factors of at least 1", mult);
    require<ConfigError>(mult <= largest_width / options.model_channels, network, "channel_mult",
                         str("levels of at most ", largest_width, " channels"), mult);
  }
}

/// The options, checked. Errors: ConfigError of the component `network`.
template <class Options>
Options checked(std::string_view network, Options options) {
  check_options(network, options);
  require_within(network, "augment_dim", options.augment_dim, 0, largest_width);
  require<ConfigError>(options.dropout >= 0 && options.dropout < 1, network, "dropout", "a value in [0, 1)",
                       options.dropout);
  const std::int64_t divisor = size_divisor(options);
  const ImageSize image = options.image;
  require<ConfigError>(
      image.height >= 1 && image.width >= 1 && image.height % divisor == 0 && image.width % divisor == 0, network,
      "image", str("sides divisible by ", divisor), to_string(image));
  return options;
}

}  // namespace patchdiff::unet
