// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// The matrices of Winograd's convolutions F(m x m, 3x3), each along one direction (Lavin and Gray, arXiv 1509.09308).
///
/// A tile is m x m pixels of the output, of (m + 2) x (m + 2) of the input, by as many multiplications for each pair of
/// channels. With the matrices of that paper, y = A^T [(G w G^T) * (B^T x B)] A, where * goes place by place, so that
/// for each place the tiles of all channels are a matrix. The gradient of w is G^T [sum of (A dy A^T) * (B^T x B)] G.
///
/// `input` is B^T, `output` A^T, `gradient` A, `weight` G and `weight_gradient` G^T.
namespace patchdiff::torch_cpu {

/// Taps along one direction.
constexpr std::int64_t winograd_taps = 3;

/// Lengths of a tile.
template <std::int64_t Side>
struct TileSize {
  static constexpr std::int64_t side = Side;
  static constexpr std::int64_t points = side + winograd_taps - 1;
  static constexpr std::int64_t places = points * points;
  /// Place of A dy A^T that holds the sum of a tile's pixels.
  static constexpr std::int64_t place_of_sum = points + 1;
};

/// Tiles of 2x2 pixels: 16 multiplications instead of 36.
struct SmallTiles : TileSize<2> {
  /// Tiles that are worked through at a time, so that they stay in the cache of a core; for gradients of weights.
  static constexpr std::int64_t block = 48;
  static constexpr std::int64_t gradient_block = 96;

  template <class V>
  [[gnu::always_inline]] static void input(const V (&d)[points], V (&to)[points]) noexcept {
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[1] - d[3];
  }
  template <class V>
  [[gnu::always_inline]] static void output(const V (&m)[points], V (&to)[side]) noexcept {
    to[0] = m[0] + m[1] + m[2];
    to[1] = m[1] - m[2] - m[3];
  }
  template <class V>
  [[gnu::always_inline]] static void gradient(const V (&d)[side], V (&to)[points]) noexcept {
    to[0] = d[0];
    to[1] = d[0] + d[1];
    to[2] = d[0] - d[1];
    to[3] = -d[1];
  }
  template <class V>
  [[gnu::always_inline]] static void weight(const V (&w)[winograd_taps], V (&to)[points]) noexcept {
    const V sum = w[0] + w[2];
    to[0] = w[0];
    to[1] = (sum + w[1]) * 0.5F;
    to[2] = (sum - w[1]) * 0.5F;
    to[3] = w[2];
  }
  template <class V>
  [[gnu::always_inline]] static void weight_gradient(const V (&u)[points], V (&to)[winograd_taps]) noexcept {
    const V sum = (u[1] + u[2]) * 0.5F;
    to[0] = u[0] + sum;
    to[1] = (u[1] - u[2]) * 0.5F;
    to[2] = sum + u[3];
  }
};

/// Tiles of 4x4 pixels: 36 multiplications instead of 144, with about ten times the rounding of small tiles.
///
/// Of the points 0, 1, -1, 1/2, -2 and infinity, whose matrices round half as much as those of the paper's 2 and -2
/// (Barabasz and others, arXiv 1803.10986).
struct LargeTiles : TileSize<4> {
  static constexpr std::int64_t block = 36;
  static constexpr std::int64_t gradient_block = 48;

  template <class V>
  [[gnu::always_inline]] static void input(const V (&d)[points], V (&to)[points]) noexcept {
    const V even = d[4] - d[2], odd = d[3] - d[1];
    to[0] = d[0] - d[2] + even + odd * 1.5F;
    to[1] = even + odd + (d[3] + d[2]) * 1.5F;
    to[2] = even - odd + (d[3] - d[2]) * 1.5F;
    to[3] = even + odd * 2.0F;
    to[4] = even - odd * 0.5F;
    to[5] = d[5] - d[3] - odd + even * 1.5F;
  }
  template <class V>
  [[gnu::always_inline]] static void output(const V (&m)[points], V (&to)[side]) noexcept {
    const V sum = m[1] + m[2], difference = m[1] - m[2];
    to[0] = m[0] + sum + m[3] + m[4];
    to[1] = difference + m[3] * 0.5F - m[4] * 2.0F;
    to[2] = sum + m[3] * 0.25F + m[4] * 4.0F;
    to[3] = difference + m[3] * 0.125F - m[4] * 8.0F + m[5];
  }
  template <class V>
  [[gnu::always_inline]] static void gradient(const V (&d)[side], V (&to)[points]) noexcept {
    const V even = d[0] + d[2], odd = d[1] + d[3];
    to[0] = d[0];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = d[0] + d[1] * 0.5F + d[2] * 0.25F + d[3] * 0.125F;
    to[4] = d[0] - d[1] * 2.0F + d[2] * 4.0F - d[3] * 8.0F;
    to[5] = d[3];
  }
  template <class V>
  [[gnu::always_inline]] static void weight(const V (&w)[winograd_taps], V (&to)[points]) noexcept {
    const V sum = w[0] + w[2];
    to[0] = w[0];
    to[1] = (sum + w[1]) * (1.0F / 3);
    to[2] = (w[1] - sum) * (1.0F / 3);
    to[3] = (w[0] * 4.0F + w[1] * 2.0F + w[2]) * (-4.0F / 15);
    to[4] = (w[0] - w[1] * 2.0F + w[2] * 4.0F) * (1.0F / 15);
    to[5] = w[2];
  }
  template <class V>
  [[gnu::always_inline]] static void weight_gradient(const V (&u)[points], V (&to)[winograd_taps]) noexcept {
    const V even = (u[1] - u[2]) * (1.0F / 3);
    to[0] = u[0] + even + (u[4] - u[3] * 16.0F) * (1.0F / 15);
    to[1] = (u[1] + u[2]) * (1.0F / 3) - (u[3] * 4.0F + u[4]) * (2.0F / 15);
    to[2] = u[5] + even + (u[4] - u[3]) * (4.0F / 15);
  }
};

}  // namespace patchdiff::torch_cpu
