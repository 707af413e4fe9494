// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/eigen/inference/buffer.hpp>
#include <patchdiff/nn/eigen/inference/convolution.hpp>
#include <patchdiff/nn/eigen/inference/group_norm.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/inference/noise_embedding.hpp>
#include <patchdiff/nn/eigen/inference/resample.hpp>
#include <patchdiff/nn/eigen/inference/residual_block.hpp>
#include <patchdiff/nn/eigen/silu.hpp>
#include <patchdiff/nn/song_unet_options.hpp>
#include <patchdiff/nn/unet_plan.hpp>

namespace patchdiff::inference {

/// DDPM++ on one sample.
template <class Scalar>
class SampleSongUNet {
 public:
  using View = ImageView<Scalar>;

  /// Memory of a call.
  struct Scratch {
    Buffer<Scalar> input{}, output{}, joined{}, normal{};
    std::array<Buffer<Scalar>, 2> turns{};  ///< what a block reads, and what it writes
    std::deque<Buffer<Scalar>> skips{};     ///< the encoder's outputs
    typename ResidualBlock<Scalar>::Scratch block{};
    typename GroupNorm<Scalar>::Scratch norm{};
  };

  /// What one sample is told.
  struct Told {
    double c_noise = 0;
    const Scalar* labels = nullptr;          ///< null: zeros
    const Scalar* augment_labels = nullptr;  ///< null: zeros
  };

  SampleSongUNet(const SongUNetOptions& options, EigenDevice<Scalar> device) : embedding_(options, device) {
    const unet::UNetPlan plan(options, options.model_channels, /*decoder_attends_once=*/true);
    const std::int64_t told = NoiseEmbedding<Scalar>::width(options);
    const std::string stem = unet::UNetPlan::name("enc", options.image, 0) + "conv";
    if (options.implicit_mlp) {
      for (const std::int64_t index : {0, 2, 4}) {
        implicit_.emplace_back(str(stem, '.', index), index == 0 ? options.in_channels : options.model_channels,
                               options.model_channels, 1);
      }
    }
    stem_.emplace(options.implicit_mlp ? stem + ".6" : stem,
                  options.implicit_mlp ? options.model_channels : options.in_channels, options.model_channels, 3);
    for (std::size_t level = 0; level < plan.count(); ++level) {
      const auto& planned = plan.encoder(level);
      for (const unet::BlockPlan& block : planned.entry) encoder_.emplace_back(block, told, device);
      for (const unet::BlockPlan& block : planned.blocks) encoder_.emplace_back(block, told, device);
    }
    for (std::size_t level = plan.count(); level-- > 0;) {
      const auto& planned = plan.decoder(level);
      for (const unet::BlockPlan& block : planned.entry) decoder_.push_back({{block, told, device}, false});
      for (const unet::BlockPlan& block : planned.blocks) decoder_.push_back({{block, told, device}, true});
    }
    const std::string top = unet::UNetPlan::name("dec", options.image, 0);
    const std::int64_t channels = unet::level_channels(options).front();
    out_norm_.emplace(top + "aux_norm", channels, device);
    out_conv_.emplace(top + "aux_conv", channels, options.out_channels, 3);
  }

  /// The output, in the scratch; `input` stands in a border of zeros.
  View operator()(const View& input, const Told& told, Scratch& scratch, ExecutorReference executor) const {
    const Values<Scalar> embedding = embedding_(told.c_noise, told.labels, told.augment_labels);
    scratch.skips.resize(1 + encoder_.size());
    std::vector<View> skips;
    const auto skip = [&](ImageSize size, std::int64_t channels) {
      return skips.emplace_back(scratch.skips[skips.size()].image(size, channels));
    };
    View x = skip(input.size, stem_->out());
    (*stem_)(before_stem(input, scratch, executor), x, executor);
    for (const ResidualBlock<Scalar>& block : encoder_) {
      const View y = skip(block.out_size(x.size), block.out_channels());
      block(x, embedding, y, scratch.block, executor);
      x = y;
    }
    std::size_t turn = 0;
    for (const DecoderBlock& decoder : decoder_) {
      if (decoder.takes_skip) {
        const View joined = scratch.joined.image(x.size, x.channels + skips.back().channels);
        join(x, skips.back(), joined, executor);
        skips.pop_back();
        x = joined;
      }
      const View y = scratch.turns[turn].image(decoder.block.out_size(x.size), decoder.block.out_channels());
      decoder.block(x, embedding, y, scratch.block, executor);
      x = y;
      turn = 1 - turn;
    }
    const View normal = scratch.normal.bordered(x.size, x.channels);
    out_norm_->with_silu(x, normal, scratch.norm, executor);
    const View output = scratch.output.image(x.size, out_conv_->out());
    (*out_conv_)(normal, output, executor);
    return output;
  }

  template <class Visitor>
  void visit_state(Visitor& visit, EigenDevice<Scalar> device) {
    embedding_.visit_state(visit);
    for (Convolution<Scalar>& layer : implicit_) layer.visit_state(visit, device);
    stem_->visit_state(visit, device);
    for (ResidualBlock<Scalar>& block : encoder_) block.visit_state(visit, device);
    for (DecoderBlock& decoder : decoder_) decoder.block.visit_state(visit, device);
    out_norm_->visit_state(visit);
    out_conv_->visit_state(visit, device);
  }

 private:
  struct DecoderBlock {
    ResidualBlock<Scalar> block;
    bool takes_skip;
  };

  /// The input, behind the coordinate stem's layers where there are some; in a border of zeros.
  View before_stem(View x, Scratch& scratch, ExecutorReference executor) const {
    std::size_t turn = 0;
    for (const Convolution<Scalar>& layer : implicit_) {
      const bool last = &layer == &implicit_.back();
      const View y =
          last ? scratch.normal.bordered(x.size, layer.out()) : scratch.turns[turn].image(x.size, layer.out());
      layer(x, y, executor);
      for (std::int64_t row = 0; row < y.size.height; ++row) {
        auto values = Values<Scalar>::Map(y.row(row), y.row_values());
        values = layers::silu(values);
      }
      x = y;
      turn = 1 - turn;
    }
    return x;
  }

  NoiseEmbedding<Scalar> embedding_;
  std::vector<Convolution<Scalar>> implicit_{};  ///< the coordinate stem's 1x1 layers
  std::optional<Convolution<Scalar>> stem_{};
  std::vector<ResidualBlock<Scalar>> encoder_{};
  std::vector<DecoderBlock> decoder_{};
  std::optional<GroupNorm<Scalar>> out_norm_{};
  std::optional<Convolution<Scalar>> out_conv_{};
};

}  // namespace patchdiff::inference
