// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/nn/torch/register_product.hpp>
#include <patchdiff/nn/torch/winograd_tiles.hpp>

/// Weights of 3x3 convolutions [out, in, 3, 3], of a multiple of 16 channels, to and from the places of Winograd's
/// tiles.
namespace patchdiff::torch_cpu {

constexpr std::int64_t winograd_taps = 9;

/// Output channels that are worked through at a time.
constexpr std::int64_t winograd_panel = product_columns;

/// A convolution's weights, or those of the gradient of its input: input and output exchanged, turned by 180 degrees.
struct WinogradWeights {
  const float* values = nullptr;
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool turned = false;

  /// Where the nine taps of a pair of channels begin.
  std::int64_t taps_of(std::int64_t o, std::int64_t i) const noexcept {
    return (turned ? i * out + o : o * in + i) * winograd_taps;
  }
};

/// Transformed weights: panel by panel, then [place, in, panel's channels].
struct WeightPanels {
  float* values = nullptr;
  std::int64_t in = 0;
  std::int64_t out = 0;

  std::int64_t size() const noexcept { return winograd_places * in * out; }
  /// Output channels of the panel that begins with channel `first`.
  std::int64_t width(std::int64_t first) const noexcept { return std::min(winograd_panel, out - first); }
  float* matrix(std::int64_t first, std::int64_t place) const noexcept {
    return values + (winograd_places * first + place * width(first)) * in;
  }
};

/// Exchanges rows and columns.
[[gnu::always_inline]] inline void transpose(Floats (&rows)[lanes]) noexcept {
  static_assert(lanes == 16);
  // Four times each row is put between the numbers of the one eight below.
#pragma GCC unroll 4
  for (int turn = 0; turn < 4; ++turn) {
    Floats mixed[lanes];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      mixed[2 * i] =
          __builtin_shufflevector(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      mixed[2 * i + 1] =
          __builtin_shufflevector(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = mixed[i];
  }
}

/// G along one direction.
[[gnu::always_inline]] inline void weight_line(const Floats& g0, const Floats& g1, const Floats& g2,
                                               Floats (&to)[4]) noexcept {
  to[0] = g0;
  to[1] = (g0 + g2 + g1) * 0.5F;
  to[2] = (g0 + g2 - g1) * 0.5F;
  to[3] = g2;
}

/// G^T along one direction.
[[gnu::always_inline]] inline void weight_gradient_line(const Floats& u0, const Floats& u1, const Floats& u2,
                                                        const Floats& u3, Floats (&to)[3]) noexcept {
  const Floats sum = (u1 + u2) * 0.5F;
  to[0] = u0 + sum;
  to[1] = (u1 - u2) * 0.5F;
  to[2] = sum + u3;
}

/// Writes G w G^T of 16 output channels from `first` on.
[[gnu::always_inline]] inline void transform_weights_body(const WinogradWeights& weights, const WeightPanels& to,
                                                          std::int64_t first) noexcept {
  const std::int64_t panel = first / winograd_panel * winograd_panel, width = to.width(panel);
  for (std::int64_t i = 0; i < weights.in; ++i) {
    Floats taps[lanes]{};
    for (std::int64_t o = 0; o < lanes; ++o) {
      load(weights.values + weights.taps_of(first + o, i), winograd_taps, taps[o]);
    }
    transpose(taps);
    Floats columns[3][4];
#pragma GCC unroll 3
    for (int x = 0; x < 3; ++x) {
      const auto tap = [&](int y) { return weights.turned ? 8 - 3 * y - x : 3 * y + x; };
      weight_line(taps[tap(0)], taps[tap(1)], taps[tap(2)], columns[x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < 4; ++y) {
      Floats places[4];
      weight_line(columns[0][y], columns[1][y], columns[2][y], places);
#pragma GCC unroll 4
      for (int x = 0; x < 4; ++x) store(to.matrix(panel, 4 * y + x) + i * width + first - panel, places[x]);
    }
  }
}

/// Writes G^T u G of 16 output channels from `first` on; u is of `winograd_places` matrices [in, out].
[[gnu::always_inline]] inline void weight_gradient_body(const float* u, std::int64_t in, std::int64_t out,
                                                        std::int64_t first, float* gradient) noexcept {
  for (std::int64_t i = 0; i < in; ++i) {
    Floats columns[4][3];
#pragma GCC unroll 4
    for (int x = 0; x < 4; ++x) {
      Floats places[4];
#pragma GCC unroll 4
      for (int y = 0; y < 4; ++y) load(u + ((4 * y + x) * in + i) * out + first, places[y]);
      weight_gradient_line(places[0], places[1], places[2], places[3], columns[x]);
    }
    Floats taps[lanes]{};
#pragma GCC unroll 3
    for (int y = 0; y < 3; ++y) {
      Floats line[3];
      weight_gradient_line(columns[0][y], columns[1][y], columns[2][y], columns[3][y], line);
#pragma GCC unroll 3
      for (int x = 0; x < 3; ++x) taps[3 * y + x] = line[x];
    }
    transpose(taps);
    for (std::int64_t o = 0; o < lanes; ++o) {
      store(gradient + ((first + o) * in + i) * winograd_taps, winograd_taps, taps[o]);
    }
  }
}

}  // namespace patchdiff::torch_cpu
