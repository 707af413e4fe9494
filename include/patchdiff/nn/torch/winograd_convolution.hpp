// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/nn/torch/register_product.hpp>
#include <patchdiff/nn/torch/winograd_tiles.hpp>
#include <patchdiff/nn/torch/winograd_weights.hpp>

/// 3x3 convolutions of stride and padding 1 by Winograd's tiles, computed in float, on arrays of float or bfloat16 that
/// lie channels last, of a multiple of 16 channels.
///
/// Over vectors V that the processor has. Blocks of tiles are transformed, multiplied and transformed back within the
/// cache of a core. They are the same, and so are all bits, for any number of threads.
namespace patchdiff::torch_cpu {

/// Floats without values.
inline at::Tensor work_space(std::int64_t count) { return at::empty({count}, at::kFloat); }

/// The tiles of a grid in blocks of equal size, but for the last.
struct TileBlocks {
  TileGrid grid;
  std::int64_t tiles = 0;  ///< of a block

  /// Of whole `rows`, as even as they come.
  static TileBlocks of_about(std::int64_t tiles, const TileGrid& grid, std::int64_t rows) noexcept {
    const std::int64_t blocks = (grid.count() + tiles - 1) / tiles;
    const std::int64_t even = (grid.count() + blocks - 1) / std::max<std::int64_t>(1, blocks);
    return {grid, (even + rows - 1) / rows * rows};
  }
  std::int64_t count() const noexcept { return (grid.count() + tiles - 1) / tiles; }
  TileRange range(std::int64_t block, std::int64_t channels) const noexcept {
    return {grid, channels, block * tiles, std::min(grid.count(), (block + 1) * tiles)};
  }
};

/// The product of a block's tiles at one place with the panel of weights that begins with output channel `first`.
inline RegisterProduct panel_product(const WeightPanels& weights, std::int64_t first, std::int64_t place,
                                     std::int64_t tiles, const PlaceMatrices& inputs,
                                     const PlaceMatrices& outputs) noexcept {
  const std::int64_t width = weights.width(first);
  return {.rows = tiles,
          .columns = width,
          .depth = weights.in,
          .left = inputs.values + place * inputs.place,
          .left_row = inputs.row,
          .left_step = 1,
          .right = weights.matrix(first, place),
          .right_step = width,
          .out = outputs.values + place * outputs.place,
          .out_row = outputs.row};
}

/// y [N, H, W, out] of x [N, H, W, in]; the bias may be nullptr.
template <class Tiles, class V, class Value>
void winograd_convolution(const TileGrid& grid, const Value* x, const WinogradWeights& weights, const float* bias,
                          Value* y) {
  constexpr std::int64_t panel = product_columns<V>;
  WeightPanels panels{.in = weights.in, .out = weights.out, .panel = panel, .places = Tiles::places};
  const at::Tensor transformed_weights = work_space(panels.size());
  panels.values = transformed_weights.data_ptr<float>();
  at::parallel_for(0, weights.out / lanes_of<V>, 1, [&](std::int64_t group, std::int64_t end) {
    for (; group < end; ++group)
      with_vectors<V, &transform_weights_body<Tiles, V>>(weights, panels, group * lanes_of<V>);
  });
  const TileBlocks blocks = TileBlocks::of_about(Tiles::block, grid, product_rows<V>);
  at::parallel_for(0, blocks.count(), 1, [&](std::int64_t block, std::int64_t end) {
    const std::int64_t inputs = PlaceMatrices::size<Tiles>(blocks.tiles, weights.in);
    const at::Tensor space = work_space(inputs + PlaceMatrices::size<Tiles>(blocks.tiles, panel));
    float* const values = space.data_ptr<float>();
    const PlaceMatrices transformed = PlaceMatrices::at(values, blocks.tiles, weights.in);
    const PlaceMatrices products = PlaceMatrices::at(values + inputs, blocks.tiles, panel);
    for (; block < end; ++block) {
      const TileRange from = blocks.range(block, weights.in), to = blocks.range(block, weights.out);
      with_vectors<V, &input_tiles<Tiles, V, Value>>(from, x, transformed);
      for (std::int64_t first = 0; first < weights.out; first += panel) {
        for (std::int64_t place = 0; place < Tiles::places; ++place) {
          multiply<V>(panel_product(panels, first, place, from.last - from.first, transformed, products));
        }
        const std::int64_t last = std::min(weights.out, first + panel);
        with_vectors<V, &output_tiles<Tiles, V, Value>>(to, products, first, last, bias, y);
      }
    }
  });
}

/// A block of tiles on its way to the gradients of weights.
struct GradientBlock {
  TileRange x, dy;
  PlaceMatrices inputs, gradients;
};

/// The product that adds a block to one place's matrix [in, out], or is its first, of `panel` output channels.
inline RegisterProduct gradient_product(const GradientBlock& block, std::int64_t place, std::int64_t first,
                                        std::int64_t panel, bool add, float* to) noexcept {
  const std::int64_t row = block.gradients.row;
  return {.rows = block.x.channels,
          .columns = std::min(panel, row - first),
          .depth = block.x.last - block.x.first,
          .left = block.inputs.values + place * block.inputs.place,
          .left_row = 1,
          .left_step = block.inputs.row,
          .right = block.gradients.values + place * block.gradients.place + first,
          .right_step = row,
          .out = to + first,
          .out_row = row,
          .add = add};
}

/// Adds up all tiles of a block's gradients, by channel.
template <class Tiles, class V>
[[gnu::always_inline]] inline void bias_gradient_body(const GradientBlock& block, bool add, float* bias) noexcept {
  const PlaceMatrices& from = block.gradients;
  for (std::int64_t c = 0; c < block.dy.channels; c += lanes_of<V>) {
    V before{}, sum{};
    if (add) load(bias + c, before);
    for (std::int64_t tile = 0; tile < block.dy.last - block.dy.first; ++tile) {
      V value;
      load(from.values + Tiles::place_of_sum * from.place + tile * from.row + c, value);
      sum += value;
    }
    store(bias + c, before + sum);
  }
}

/// Gradients of weights [out, in, 3, 3] and bias [out], of at least one image.
template <class Tiles, class V, class Value>
void winograd_weight_gradients(const TileGrid& grid, const Value* x, std::int64_t in, const Value* dy, std::int64_t out,
                               float* weight, float* bias) {
  const TileBlocks blocks = TileBlocks::of_about(Tiles::gradient_block, grid, product_rows<V>);
  const std::int64_t at_once = std::min<std::int64_t>(blocks.count(), at::get_num_threads());
  const std::int64_t inputs = PlaceMatrices::size<Tiles>(blocks.tiles, in);
  const std::int64_t both = inputs + PlaceMatrices::size<Tiles>(blocks.tiles, out);
  const at::Tensor space = work_space(at_once * both), places = work_space(Tiles::places * in * out);
  float *const work = space.data_ptr<float>(), *const sums = places.data_ptr<float>();
  for (std::int64_t start = 0; start < blocks.count(); start += at_once) {
    const std::int64_t stop = std::min(blocks.count(), start + at_once);
    const auto block_of = [&](std::int64_t index) {
      float* values = work + (index - start) * both;
      return GradientBlock{blocks.range(index, in), blocks.range(index, out),
                           PlaceMatrices::at(values, blocks.tiles, in),
                           PlaceMatrices::at(values + inputs, blocks.tiles, out)};
    };
    at::parallel_for(start, stop, 1, [&](std::int64_t index, std::int64_t end) {
      for (; index < end; ++index) {
        const GradientBlock block = block_of(index);
        with_vectors<V, &input_tiles<Tiles, V, Value>>(block.x, x, block.inputs);
        with_vectors<V, &gradient_tiles<Tiles, V, Value>>(block.dy, dy, block.gradients);
      }
    });
    at::parallel_for(0, Tiles::places, 1, [&](std::int64_t place, std::int64_t end) {
      for (; place < end; ++place) {
        for (std::int64_t index = start; index < stop; ++index) {
          const GradientBlock block = block_of(index);
          for (std::int64_t first = 0; first < out; first += product_columns<V>) {
            multiply<V>(gradient_product(block, place, first, product_columns<V>, index > 0, sums + place * in * out));
          }
          if (place == Tiles::place_of_sum) with_vectors<V, &bias_gradient_body<Tiles, V>>(block, index > 0, bias);
        }
      }
    });
  }
  at::parallel_for(0, out / lanes_of<V>, 1, [&](std::int64_t group, std::int64_t end) {
    for (; group < end; ++group) {
      with_vectors<V, &weight_gradient_body<Tiles, V>>(sums, in, out, group * lanes_of<V>, weight);
    }
  });
}

}  // namespace patchdiff::torch_cpu
