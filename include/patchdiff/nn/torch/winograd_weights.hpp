// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/nn/torch/winograd_matrices.hpp>

/// Weights of 3x3 convolutions [out, in, 3, 3], of a multiple of 16 channels, to and from the places of Winograd's
/// tiles.
namespace patchdiff::torch_cpu {

/// Taps of a pair of channels.
constexpr std::int64_t kernel_taps = winograd_taps * winograd_taps;

/// A convolution's weights, or those of the gradient of its input: input and output exchanged, turned by 180 degrees.
struct WinogradWeights {
  const float* values = nullptr;
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool turned = false;

  /// Where the nine taps of a pair of channels begin.
  std::int64_t taps_of(std::int64_t o, std::int64_t i) const noexcept {
    return (turned ? i * out + o : o * in + i) * kernel_taps;
  }
};

/// Transformed weights: panel by panel, then [place, in, panel's channels].
struct WeightPanels {
  float* values = nullptr;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t panel = 0;  ///< output channels that are worked through at a time
  std::int64_t places = 0;

  std::int64_t size() const noexcept { return places * in * out; }
  /// Output channels of the panel that begins with channel `first`.
  std::int64_t width(std::int64_t first) const noexcept { return std::min(panel, out - first); }
  float* matrix(std::int64_t first, std::int64_t place) const noexcept {
    return values + (places * first + place * width(first)) * in;
  }
};

/// Puts the numbers of one vector between those of another, first the lower halves.
template <class V, std::size_t... I>
[[gnu::always_inline]] inline void interleave(const V& a, const V& b, V& lower, V& upper,
                                              std::index_sequence<I...>) noexcept {
  constexpr std::size_t count = sizeof...(I);
  lower = __builtin_shufflevector(a, b, (I / 2 + I % 2 * count)...);
  upper = __builtin_shufflevector(a, b, (count / 2 + I / 2 + I % 2 * count)...);
}

/// Exchanges rows and columns.
template <class V>
[[gnu::always_inline]] inline void transpose(V (&rows)[lanes_of<V>]) noexcept {
  constexpr std::int64_t count = lanes_of<V>;
  constexpr int turns = count == 16 ? 4 : 3;
  // Each turn every row is put between the numbers of the one that is half of all below.
#pragma GCC unroll 4
  for (int turn = 0; turn < turns; ++turn) {
    V mixed[count];
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < count / 2; ++i) {
      interleave(rows[i], rows[i + count / 2], mixed[2 * i], mixed[2 * i + 1], std::make_index_sequence<count>());
    }
#pragma GCC unroll 16
    for (std::int64_t i = 0; i < count; ++i) rows[i] = mixed[i];
  }
}

/// The nine taps of a vector of pairs of channels; `at(i)` is where those of the i-th begin.
template <class V, class F>
[[gnu::always_inline]] inline void read_taps(const F& at, V (&taps)[kernel_taps]) noexcept {
  constexpr std::int64_t count = lanes_of<V>, together = std::min(count, kernel_taps);
  V rows[count];
  for (std::int64_t i = 0; i < count; ++i) load(at(i), together, rows[i]);
  transpose(rows);
#pragma GCC unroll 9
  for (std::int64_t tap = 0; tap < together; ++tap) taps[tap] = rows[tap];
  if constexpr (together < kernel_taps) {
    float last[count];
    for (std::int64_t i = 0; i < count; ++i) last[i] = at(i)[together];
    load(last, taps[together]);
  }
}

/// The way back.
template <class V, class F>
[[gnu::always_inline]] inline void write_taps(const V (&taps)[kernel_taps], const F& at) noexcept {
  constexpr std::int64_t count = lanes_of<V>, together = std::min(count, kernel_taps);
  V rows[count]{};
#pragma GCC unroll 9
  for (std::int64_t tap = 0; tap < together; ++tap) rows[tap] = taps[tap];
  transpose(rows);
  for (std::int64_t i = 0; i < count; ++i) store(at(i), together, rows[i]);
  if constexpr (together < kernel_taps) {
    float last[count];
    store(last, taps[together]);
    for (std::int64_t i = 0; i < count; ++i) at(i)[together] = last[i];
  }
}

/// Writes G w G^T of a vector of output channels from `first` on.
template <class Tiles, class V>
[[gnu::always_inline]] inline void transform_weights_body(const WinogradWeights& weights, const WeightPanels& to,
                                                          std::int64_t first) noexcept {
  const std::int64_t panel = first / to.panel * to.panel, width = to.width(panel);
  for (std::int64_t i = 0; i < weights.in; ++i) {
    V taps[kernel_taps];
    read_taps([&](std::int64_t o) { return weights.values + weights.taps_of(first + o, i); }, taps);
    V columns[winograd_taps][Tiles::points];
#pragma GCC unroll 3
    for (std::int64_t x = 0; x < winograd_taps; ++x) {
      V column[winograd_taps];
#pragma GCC unroll 3
      for (std::int64_t y = 0; y < winograd_taps; ++y) {
        const std::int64_t tap = winograd_taps * y + x;
        column[y] = taps[weights.turned ? kernel_taps - 1 - tap : tap];
      }
      Tiles::weight(column, columns[x]);
    }
#pragma GCC unroll 6
    for (std::int64_t y = 0; y < Tiles::points; ++y) {
      V line[winograd_taps], places[Tiles::points];
#pragma GCC unroll 3
      for (std::int64_t x = 0; x < winograd_taps; ++x) line[x] = columns[x][y];
      Tiles::weight(line, places);
#pragma GCC unroll 6
      for (std::int64_t x = 0; x < Tiles::points; ++x) {
        store(to.matrix(panel, Tiles::points * y + x) + i * width + first - panel, places[x]);
      }
    }
  }
}

/// Writes G^T u G of a vector of output channels from `first` on; u is of a matrix [in, out] for each place.
template <class Tiles, class V>
[[gnu::always_inline]] inline void weight_gradient_body(const float* u, std::int64_t in, std::int64_t out,
                                                        std::int64_t first, float* gradient) noexcept {
  for (std::int64_t i = 0; i < in; ++i) {
    V columns[Tiles::points][winograd_taps];
#pragma GCC unroll 6
    for (std::int64_t x = 0; x < Tiles::points; ++x) {
      V places[Tiles::points];
#pragma GCC unroll 6
      for (std::int64_t y = 0; y < Tiles::points; ++y) {
        load(u + ((Tiles::points * y + x) * in + i) * out + first, places[y]);
      }
      Tiles::weight_gradient(places, columns[x]);
    }
    V taps[kernel_taps];
#pragma GCC unroll 3
    for (std::int64_t y = 0; y < winograd_taps; ++y) {
      V places[Tiles::points], line[winograd_taps];
#pragma GCC unroll 6
      for (std::int64_t x = 0; x < Tiles::points; ++x) places[x] = columns[x][y];
      Tiles::weight_gradient(places, line);
#pragma GCC unroll 3
      for (std::int64_t x = 0; x < winograd_taps; ++x) taps[winograd_taps * y + x] = line[x];
    }
    write_taps(taps, [&](std::int64_t o) { return gradient + ((first + o) * in + i) * kernel_taps; });
  }
}

}  // namespace patchdiff::torch_cpu
