// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/nn/torch/winograd_matrices.hpp>

/// Images as Winograd's tiles, and back.
namespace patchdiff::torch_cpu {

/// Floats of a line of the cache.
constexpr std::int64_t cache_line = 16;

/// Images [N, H, W, C], C a multiple of 16, and their tiles, row by row, one image after the other; the last rows and
/// columns may be cut off.
struct TileGrid {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t side = 0;  ///< of a tile's output

  std::int64_t rows() const noexcept { return (height + side - 1) / side; }
  std::int64_t columns() const noexcept { return (width + side - 1) / side; }
  std::int64_t count() const noexcept { return images * rows() * columns(); }
};

/// Tiles from `first` to `last` of images with `channels`.
struct TileRange {
  TileGrid grid;
  std::int64_t channels = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
};

/// One matrix [tiles, channels] of floats for each place; lengths in floats.
struct PlaceMatrices {
  float* values = nullptr;
  std::int64_t row = 0;    ///< from one tile to the next
  std::int64_t place = 0;  ///< from one place to the next

  /// As many floats as such matrices need.
  template <class Tiles>
  static constexpr std::int64_t size(std::int64_t tiles, std::int64_t row) noexcept {
    return Tiles::places * place_size(tiles, row);
  }
  /// One line of the cache more than the matrix: else all places of a tile fall into the same set of the cache.
  static constexpr std::int64_t place_size(std::int64_t tiles, std::int64_t row) noexcept {
    return tiles * row + cache_line;
  }

  static PlaceMatrices at(float* values, std::int64_t tiles, std::int64_t row) noexcept {
    return {values, row, place_size(tiles, row)};
  }
};

/// Calls f(index in the range, image, row, column, count) for tiles side by side.
template <class F>
[[gnu::always_inline]] inline void for_tile_rows(const TileRange& range, const F& f) noexcept {
  const std::int64_t columns = range.grid.columns(), rows = range.grid.rows();
  for (std::int64_t tile = range.first; tile < range.last;) {
    const std::int64_t line = tile / columns, column = tile % columns;
    const std::int64_t count = std::min(range.last - tile, columns - column);
    f(tile - range.first, line / rows, line % rows, column, count);
    tile += count;
  }
}

/// B^T x B of a row of tiles and a vector of channels; pixels outside are zero.
template <class Tiles, class V, class Value>
[[gnu::always_inline]] inline void input_tile_row(const TileRange& range, const Value* x, std::int64_t row,
                                                  std::int64_t column, std::int64_t tiles, float* out,
                                                  const PlaceMatrices& to) noexcept {
  const std::int64_t height = range.grid.height, width = range.grid.width, channels = range.channels;
  const auto pixels = [&](std::int64_t at, V(&transformed)[Tiles::points]) __attribute__((always_inline)) {
    V d[Tiles::points]{};
    if (at >= 0 && at < width) {
#pragma GCC unroll 6
      for (std::int64_t i = 0; i < Tiles::points; ++i) {
        const std::int64_t line = Tiles::side * row - 1 + i;
        if (line >= 0 && line < height) load(x + (line * width + at) * channels, d[i]);
      }
    }
    Tiles::input(d, transformed);
  };
  V lines[Tiles::points][Tiles::points];  // by columns of pixels; the last two are the next tile's first
  pixels(Tiles::side * column - 1, lines[0]);
  pixels(Tiles::side * column, lines[1]);
  for (std::int64_t tile = 0; tile < tiles; ++tile, out += to.row) {
    for (std::int64_t at = 2; at < Tiles::points; ++at) {
      pixels(Tiles::side * (column + tile) - 1 + at, lines[at]);
    }
    for (std::int64_t i = 0; i < Tiles::points; ++i) {
      V line[Tiles::points], places[Tiles::points];
#pragma GCC unroll 6
      for (std::int64_t at = 0; at < Tiles::points; ++at) line[at] = lines[at][i];
      Tiles::input(line, places);
#pragma GCC unroll 6
      for (std::int64_t j = 0; j < Tiles::points; ++j) store(out + (Tiles::points * i + j) * to.place, places[j]);
      lines[0][i] = line[Tiles::side];
      lines[1][i] = line[Tiles::side + 1];
    }
  }
}

/// B^T x B of images x.
template <class Tiles, class V, class Value>
[[gnu::always_inline]] inline void input_tiles(const TileRange& range, const Value* x,
                                               const PlaceMatrices& to) noexcept {
  const std::int64_t pixels = range.grid.height * range.grid.width, channels = range.channels;
  for_tile_rows(
      range, [&](std::int64_t index, std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t tiles)
                 __attribute__((always_inline)) {
                   for (std::int64_t c = 0; c < channels; c += lanes_of<V>) {
                     input_tile_row<Tiles, V>(range, x + image * pixels * channels + c, row, column, tiles,
                                              to.values + index * to.row + c, to);
                   }
                 });
}

/// Calls f(pixel, index, columns, rows) for each tile, `pixel` being where its first value lies; some lie partly
/// outside.
template <class Tiles, class F>
[[gnu::always_inline]] inline void for_tiles(const TileRange& range, const F& f) noexcept {
  const TileGrid& grid = range.grid;
  for_tile_rows(
      range, [&](std::int64_t index, std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t tiles)
                 __attribute__((always_inline)) {
                   const std::int64_t y = Tiles::side * row;
                   for (std::int64_t tile = 0; tile < tiles; ++tile) {
                     const std::int64_t x = Tiles::side * (column + tile);
                     f(((image * grid.height + y) * grid.width + x) * range.channels, index + tile,
                       std::min(Tiles::side, grid.width - x), std::min(Tiles::side, grid.height - y));
                   }
                 });
}

/// A^T m A plus the bias (none: nullptr), of channels `first` to `last`, which are all that m has.
template <class Tiles, class V, class Value>
[[gnu::always_inline]] inline void output_tiles(const TileRange& range, const PlaceMatrices& m, std::int64_t first,
                                                std::int64_t last, const float* bias, Value* y) noexcept {
  const std::int64_t right = range.channels, below = range.grid.width * range.channels;
  for_tiles<Tiles>(
      range, [&](std::int64_t pixel, std::int64_t index, std::int64_t columns, std::int64_t rows)
                 __attribute__((always_inline)) {
                   for (std::int64_t c = first; c < last; c += lanes_of<V>) {
                     const float* from = m.values + index * m.row + c - first;
                     V constant{}, lines[Tiles::points][Tiles::side];
                     if (bias) load(bias + c, constant);
                     for (std::int64_t j = 0; j < Tiles::points; ++j) {
                       V places[Tiles::points];
#pragma GCC unroll 6
                       for (std::int64_t i = 0; i < Tiles::points; ++i) {
                         load(from + (Tiles::points * i + j) * m.place, places[i]);
                       }
                       Tiles::output(places, lines[j]);
                     }
                     for (std::int64_t i = 0; i < rows; ++i) {
                       V line[Tiles::points], pixels[Tiles::side];
#pragma GCC unroll 6
                       for (std::int64_t j = 0; j < Tiles::points; ++j) line[j] = lines[j][i];
                       Tiles::output(line, pixels);
#pragma GCC unroll 4
                       for (std::int64_t j = 0; j < Tiles::side; ++j) {
                         if (j < columns) store(y + pixel + i * below + j * right + c, pixels[j] + constant);
                       }
                     }
                   }
                 });
}

/// A dy A^T of the gradient dy.
template <class Tiles, class V, class Value>
[[gnu::always_inline]] inline void gradient_tiles(const TileRange& range, const Value* dy,
                                                  const PlaceMatrices& to) noexcept {
  const std::int64_t right = range.channels, below = range.grid.width * range.channels;
  for_tiles<Tiles>(
      range, [&](std::int64_t pixel, std::int64_t index, std::int64_t columns, std::int64_t rows)
                 __attribute__((always_inline)) {
                   for (std::int64_t c = 0; c < range.channels; c += lanes_of<V>) {
                     V lines[Tiles::side][Tiles::points];
                     for (std::int64_t j = 0; j < Tiles::side; ++j) {
                       V d[Tiles::side]{};
#pragma GCC unroll 4
                       for (std::int64_t i = 0; i < Tiles::side; ++i) {
                         if (i < rows && j < columns) load(dy + pixel + i * below + j * right + c, d[i]);
                       }
                       Tiles::gradient(d, lines[j]);
                     }
                     float* out = to.values + index * to.row + c;
                     for (std::int64_t i = 0; i < Tiles::points; ++i) {
                       V line[Tiles::side], places[Tiles::points];
#pragma GCC unroll 4
                       for (std::int64_t j = 0; j < Tiles::side; ++j) line[j] = lines[j][i];
                       Tiles::gradient(line, places);
#pragma GCC unroll 6
                       for (std::int64_t j = 0; j < Tiles::points; ++j) {
                         store(out + (Tiles::points * i + j) * to.place, places[j]);
                       }
                     }
                   }
                 });
}

}  // namespace patchdiff::torch_cpu
