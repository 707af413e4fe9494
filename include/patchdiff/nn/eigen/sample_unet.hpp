// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/eigen/convolution.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/noise_embedding.hpp>
#include <patchdiff/nn/eigen/norm_silu.hpp>
#include <patchdiff/nn/eigen/residual_block.hpp>
#include <patchdiff/nn/eigen/small_unet_options.hpp>
#include <patchdiff/nn/eigen/weights.hpp>

namespace patchdiff::layers {

/// SmallUNet on one sample. Each level halves the image and widens its channels by a 1x1 convolution; on the way back
/// the narrowed, doubled image is added to what the level had seen.
template <class Scalar>
class SampleUNet {
 public:
  using Map = FeatureMap<Scalar>;

  /// What `backward` needs of a call, in the order of the layers.
  struct Record {
    Map input;
    typename NoiseEmbedding<Scalar>::Record embedding;
    std::vector<typename ResidualBlock<Scalar>::Record> blocks;
    std::vector<Map> widened, narrowed;  ///< what those convolutions saw
    NormSilu<Scalar> last;
  };

  SampleUNet(WeightList<Scalar>& weights, const SmallUNetOptions& options, RandomKey key)
      : embedding_(weights, "embedding", options.model_channels, options.label_dim, key),
        stem_(weights, "stem", options.in_channels, options.model_channels * options.channel_mult.front(), 3, key) {
    const std::size_t levels = options.channel_mult.size();
    for (std::size_t level = 0; level < levels; ++level) {
      const std::int64_t width = options.model_channels * options.channel_mult[level];
      const std::string prefix = str("level", level, '.');
      const auto add_blocks = [&](std::vector<ResidualBlock<Scalar>>& blocks, const std::string& side) {
        for (std::int64_t block = 0; block < options.num_blocks; ++block) {
          blocks.emplace_back(weights, str(prefix, side, block), width,
                              NoiseEmbedding<Scalar>::width(options.model_channels), key);
        }
      };
      Level& made = levels_.emplace_back();
      add_blocks(made.down, "down");
      if (level + 1 == levels) break;
      const std::int64_t next = options.model_channels * options.channel_mult[level + 1];
      made.widen.emplace(weights, prefix + "widen", width, next, 1, key);
      made.narrow.emplace(weights, prefix + "narrow", next, width, 1, key);
      add_blocks(made.up, "up");
    }
    const std::int64_t width = options.model_channels * options.channel_mult.front();
    last_scale_ = weights.constant("last.norm.weight", width, 1);
    last_shift_ = weights.constant("last.norm.bias", width, 0);
    last_.emplace(weights, "last.conv", width, options.out_channels, 3, key, near_zero);
  }

  /// The output; fills `record` where there is one.
  Map operator()(Map input, double c_noise, Column<Scalar> labels, Record* record) const {
    Record scratch;
    Record& kept = record ? *record : scratch;
    const Column<Scalar> embedding = embedding_(c_noise, std::move(labels), kept.embedding);
    const auto run = [&](const std::vector<ResidualBlock<Scalar>>& blocks, Map& x) {
      for (const ResidualBlock<Scalar>& block : blocks) {
        if (record || kept.blocks.empty()) kept.blocks.emplace_back();
        x = block(x, embedding, kept.blocks.back());
      }
    };
    const auto pass = [&](const Convolution<Scalar>& layer, Map x, std::vector<Map>& seen) {
      Map y = layer(x);
      if (record) seen.push_back(std::move(x));
      return y;
    };
    Map x = stem_(input);
    if (record) kept.input = std::move(input);
    std::vector<Map> skips;
    for (const Level& level : levels_) {
      run(level.down, x);
      if (!level.widen) break;
      Map next = pass(*level.widen, halved(x), kept.widened);
      skips.push_back(std::exchange(x, std::move(next)));
    }
    for (std::size_t level = skips.size(); level-- > 0;) {
      x = doubled(pass(*levels_[level].narrow, std::move(x), kept.narrowed));
      x.values += skips[level].values;
      run(levels_[level].up, x);
    }
    kept.last = NormSilu<Scalar>(x, group_count(x.channels()), last_scale_.column(), last_shift_.column());
    return (*last_)(kept.last.output());
  }

  /// Adds the gradients of <output, slope> to those of the weights; returns that of the input.
  Map backward(const Record& record, const Map& output_slope, Column<Scalar>& gradients) const {
    Column<Scalar> embedding_slope = Column<Scalar>::Zero(record.blocks.front().embedding.size());
    auto last = record.last.backward(last_->backward(record.last.output(), output_slope, gradients));
    last_scale_.gradient_column(gradients) += last.scale;
    last_shift_.gradient_column(gradients) += last.shift;

    Map slope = std::move(last.x);
    auto block_record = record.blocks.rbegin();
    const auto unroll = [&](const std::vector<ResidualBlock<Scalar>>& blocks) {
      for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        slope = block->backward(*block_record++, slope, embedding_slope, gradients);
      }
    };
    const std::size_t turns = levels_.size() - 1;
    std::vector<Map> skip_slopes;
    for (std::size_t level = 0; level < turns; ++level) {
      unroll(levels_[level].up);
      Map doubled_slope = halved(slope);  // the mean, where the sum is meant
      doubled_slope.values *= Scalar(4);
      skip_slopes.push_back(std::move(slope));
      slope = levels_[level].narrow->backward(record.narrowed[turns - 1 - level], doubled_slope, gradients);
    }
    unroll(levels_.back().down);
    for (std::size_t level = turns; level-- > 0;) {
      slope = doubled(levels_[level].widen->backward(record.widened[level], slope, gradients));
      slope.values = slope.values / Scalar(4) + skip_slopes[level].values;
      unroll(levels_[level].down);
    }
    embedding_.backward(record.embedding, embedding_slope, gradients);
    return stem_.backward(record.input, slope, gradients);
  }

 private:
  static constexpr double near_zero = 1e-5;  ///< gain of the layer that starts as almost nothing

  /// One resolution; all but the lowest lead to the next one and back.
  struct Level {
    std::vector<ResidualBlock<Scalar>> down{}, up{};
    std::optional<Convolution<Scalar>> widen{}, narrow{};
  };

  NoiseEmbedding<Scalar> embedding_;
  Convolution<Scalar> stem_;
  std::vector<Level> levels_;
  Weight<Scalar> last_scale_, last_shift_;
  std::optional<Convolution<Scalar>> last_;
};

}  // namespace patchdiff::layers
