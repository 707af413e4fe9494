// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/named_enum.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/attention.hpp>
#include <patchdiff/nn/unet_options.hpp>

namespace patchdiff {

/// How the noise level enters: sines at fixed frequencies (DDPM++), or at random ones (NCSN++).
enum class EmbeddingType { positional, fourier };

constexpr std::array<NamedValue<EmbeddingType>, 2> value_names(EmbeddingType) noexcept {
  return {{{EmbeddingType::positional, "positional"}, {EmbeddingType::fourier, "fourier"}}};
}

/// What the encoder's lower levels see of the input besides the levels above: nothing (DDPM++), the filtered input
/// itself, or the input through a branch of its own (NCSN++).
enum class EncoderType { standard, skip, residual };

constexpr std::array<NamedValue<EncoderType>, 3> value_names(EncoderType) noexcept {
  return {{{EncoderType::standard, "standard"}, {EncoderType::skip, "skip"}, {EncoderType::residual, "residual"}}};
}

/// What makes the output: the highest level (DDPM++, NCSN++), or the sum over all levels.
enum class DecoderType { standard, skip };

constexpr std::array<NamedValue<DecoderType>, 2> value_names(DecoderType) noexcept {
  return {{{DecoderType::standard, "standard"}, {DecoderType::skip, "skip"}}};
}

/// Settings of DDPM++ and NCSN++; the defaults are those of EDM's DDPM++ for CIFAR-10.
struct SongUNetOptions {
  ImageSize image{};                                ///< full images; names the levels, whatever the patch
  std::int64_t in_channels = 3 + 2;                 ///< image, coordinate and field channels
  std::int64_t out_channels = 3;                    ///< image channels
  std::int64_t label_dim = 0;                       ///< width of class labels, 0: none
  std::int64_t augment_dim = 0;                     ///< width of augmentation labels, 0: none
  std::int64_t model_channels = 128;                ///< width of the first level; a multiple of 4
  std::vector<std::int64_t> channel_mult{2, 2, 2};  ///< width of each level, in model_channels
  std::int64_t num_blocks = 4;                      ///< residual blocks a level
  std::vector<std::int64_t> attn_resolutions{
      16};                    ///< levels with attention, by the longer side of the full image there
  double dropout = 0.1;       ///< probability, in [0, 1)
  bool implicit_mlp = false;  ///< three more 1x1 layers at the input, each with SiLU behind it
  EmbeddingType embedding_type = EmbeddingType::positional;  ///< fourier: NCSN++
  std::int64_t channel_mult_noise = 1;               ///< width of the embedding's input, in model_channels; 2: NCSN++
  EncoderType encoder_type = EncoderType::standard;  ///< residual: NCSN++
  DecoderType decoder_type = DecoderType::standard;
  std::vector<std::int64_t> resample_filter{1, 1};  ///< an even number of taps; {1, 3, 3, 1}: NCSN++
  Attention attention = Attention::fused;           ///< plain has second derivatives
  bool recompute = false;                           ///< whether backward computes blocks again: less memory, more time

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    unet::describe_sizes(self, visit);
    visit("implicit_mlp", self.implicit_mlp, "three more 1x1 layers at the input");
    visit("embedding_type", self.embedding_type, "how the noise level enters");
    visit("channel_mult_noise", self.channel_mult_noise, "width of the noise level's embedding, in model_channels");
    visit("encoder_type", self.encoder_type, "what lower levels see of the input itself");
    visit("decoder_type", self.decoder_type, "whether lower levels add to the output");
    visit("resample_filter", self.resample_filter, "taps of the filter that halves and doubles sides");
    visit("attention", self.attention, "fused is faster, plain has second derivatives");
    visit("recompute", self.recompute, "compute blocks again in backward: less memory, more time");
  }
};

/// The options, checked. Errors: ConfigError of the component `network`.
inline SongUNetOptions checked_song_unet(std::string_view network, SongUNetOptions options) {
  options = unet::checked(network, std::move(options));
  require<ConfigError>(options.channel_mult_noise >= 1, network, "channel_mult_noise", "at least 1",
                       options.channel_mult_noise);
  if (options.channel_mult_noise > unet::largest_width / options.model_channels) {
    refuse<ConfigError>(network, "channel_mult_noise", str("at most ", unet::largest_width, " channels"),
                        str(options.channel_mult_noise));
  }
  const std::vector<std::int64_t>& taps = options.resample_filter;
  if (taps.empty() || taps.size() % 2 != 0 || std::any_of(taps.begin(), taps.end(), [](auto tap) { return tap < 1; })) {
    refuse<ConfigError>(network, "resample_filter", "an even number of values of at least 1", to_string(taps));
  }
  return options;
}

}  // namespace patchdiff
