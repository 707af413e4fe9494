// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>

/// The tiles of Winograd's convolution F(2x2, 3x3): 4x4 pixels of the input give 2x2 of the output, by 16
/// multiplications for each pair of channels instead of 36 (Lavin and Gray, arXiv 1509.09308).
///
/// With the matrices of that paper, y = A^T [(G w G^T) * (B^T x B)] A, where * goes place by place, so that for each of
/// the 16 places the tiles of all channels are a matrix. The gradient of w is G^T [sum of (A dy A^T) * (B^T x B)] G.
namespace patchdiff::torch_cpu {

/// Places of a transformed tile.
constexpr std::int64_t winograd_places = 16;

/// Floats of a line of the cache.
constexpr std::int64_t cache_line = 16;

/// Images [N, H, W, C], C a multiple of 16, and their tiles, row by row, one image after the other; a last row or
/// column may be cut off.
struct TileGrid {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;

  std::int64_t rows() const noexcept { return (height + 1) / 2; }
  std::int64_t columns() const noexcept { return (width + 1) / 2; }
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
  static constexpr std::int64_t size(std::int64_t tiles, std::int64_t row) noexcept {
    return winograd_places * place_size(tiles, row);
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

/// B^T along one direction.
template <class V>
[[gnu::always_inline]] inline void input_line(const V& d0, const V& d1, const V& d2, const V& d3, V (&to)[4]) noexcept {
  to[0] = d0 - d2;
  to[1] = d1 + d2;
  to[2] = d2 - d1;
  to[3] = d1 - d3;
}

/// B^T x B of a row of tiles and a vector of channels; pixels outside are zero.
template <class V, class Value>
[[gnu::always_inline]] inline void input_tile_row(const TileRange& range, const Value* x, std::int64_t row,
                                                  std::int64_t column, std::int64_t tiles, float* out,
                                                  const PlaceMatrices& to) noexcept {
  const std::int64_t height = range.grid.height, width = range.grid.width, channels = range.channels;
  const auto pixels = [&](std::int64_t at, V(&transformed)[4]) __attribute__((always_inline)) {
    V d[4]{};
    if (at >= 0 && at < width) {
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < 4; ++i) {
        const std::int64_t line = 2 * row - 1 + i;
        if (line >= 0 && line < height) load(x + (line * width + at) * channels, d[i]);
      }
    }
    input_line(d[0], d[1], d[2], d[3], transformed);
  };
  V lines[4][4];  // by columns of pixels; the last two are the next tile's first
  pixels(2 * column - 1, lines[0]);
  pixels(2 * column, lines[1]);
  for (std::int64_t tile = 0; tile < tiles; ++tile, out += to.row) {
    pixels(2 * (column + tile) + 1, lines[2]);
    pixels(2 * (column + tile) + 2, lines[3]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      V places[4];
      input_line(lines[0][i], lines[1][i], lines[2][i], lines[3][i], places);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) store(out + (4 * i + j) * to.place, places[j]);
      lines[0][i] = lines[2][i];
      lines[1][i] = lines[3][i];
    }
  }
}

/// B^T x B of images x.
template <class V, class Value>
[[gnu::always_inline]] inline void input_tiles(const TileRange& range, const Value* x,
                                               const PlaceMatrices& to) noexcept {
  const std::int64_t pixels = range.grid.height * range.grid.width, channels = range.channels;
  for_tile_rows(
      range, [&](std::int64_t index, std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t tiles)
                 __attribute__((always_inline)) {
                   for (std::int64_t c = 0; c < channels; c += lanes_of<V>) {
                     input_tile_row<V>(range, x + image * pixels * channels + c, row, column, tiles,
                                       to.values + index * to.row + c, to);
                   }
                 });
}

/// Calls f(pixel, index, has_right, has_below) for each tile, `pixel` being where its first value lies.
template <class F>
[[gnu::always_inline]] inline void for_tiles(const TileRange& range, const F& f) noexcept {
  const TileGrid& grid = range.grid;
  for_tile_rows(
      range, [&](std::int64_t index, std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t tiles)
                 __attribute__((always_inline)) {
                   const std::int64_t y = 2 * row;
                   for (std::int64_t tile = 0; tile < tiles; ++tile) {
                     const std::int64_t x = 2 * (column + tile);
                     f(((image * grid.height + y) * grid.width + x) * range.channels, index + tile, x + 1 < grid.width,
                       y + 1 < grid.height);
                   }
                 });
}

/// A^T m A plus the bias (none: nullptr), of channels `first` to `last`, which are all that m has.
template <class V, class Value>
[[gnu::always_inline]] inline void output_tiles(const TileRange& range, const PlaceMatrices& m, std::int64_t first,
                                                std::int64_t last, const float* bias, Value* y) noexcept {
  const std::int64_t right = range.channels, below = range.grid.width * range.channels;
  for_tiles(
      range, [&](std::int64_t pixel, std::int64_t index, bool has_right, bool has_below)
                 __attribute__((always_inline)) {
                   for (std::int64_t c = first; c < last; c += lanes_of<V>) {
                     const float* from = m.values + index * m.row + c - first;
                     V constant{}, upper[4], lower[4];
                     if (bias) load(bias + c, constant);
#pragma GCC unroll 4
                     for (int j = 0; j < 4; ++j) {
                       V line[4];
#pragma GCC unroll 4
                       for (int i = 0; i < 4; ++i) load(from + (4 * i + j) * m.place, line[i]);
                       upper[j] = line[0] + line[1] + line[2];
                       lower[j] = line[1] - line[2] - line[3];
                     }
                     Value* out = y + pixel + c;
                     store(out, upper[0] + upper[1] + upper[2] + constant);
                     if (has_right) store(out + right, upper[1] - upper[2] - upper[3] + constant);
                     if (!has_below) continue;
                     store(out + below, lower[0] + lower[1] + lower[2] + constant);
                     if (has_right) store(out + below + right, lower[1] - lower[2] - lower[3] + constant);
                   }
                 });
}

/// A dy A^T of the gradient dy; place 5 is the sum of a tile's pixels.
template <class V, class Value>
[[gnu::always_inline]] inline void gradient_tiles(const TileRange& range, const Value* dy,
                                                  const PlaceMatrices& to) noexcept {
  const std::int64_t right = range.channels, below = range.grid.width * range.channels;
  for_tiles(
      range, [&](std::int64_t pixel, std::int64_t index, bool has_right,
                 bool has_below) __attribute__((always_inline)) {
        for (std::int64_t c = 0; c < range.channels; c += lanes_of<V>) {
          const Value* from = dy + pixel + c;
          V d[2][2]{};
          load(from, d[0][0]);
          if (has_right) load(from + right, d[0][1]);
          if (has_below) load(from + below, d[1][0]);
          if (has_right && has_below) load(from + below + right, d[1][1]);
          float* out = to.values + index * to.row + c;
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            V line[2];
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) {
              line[j] = i == 0 ? d[0][j] : i == 1 ? d[0][j] + d[1][j] : i == 2 ? d[0][j] - d[1][j] : -d[1][j];
            }
            store(out + (4 * i) * to.place, line[0]);
            store(out + (4 * i + 1) * to.place, line[0] + line[1]);
            store(out + (4 * i + 2) * to.place, line[0] - line[1]);
            store(out + (4 * i + 3) * to.place, -line[1]);
          }
        }
      });
}

}  // namespace patchdiff::torch_cpu
