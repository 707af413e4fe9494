// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <patchdiff/backend/torch/lanes.hpp>

/// Group norm with all around it over one sample, pixel by pixel with channels side by side, which are a multiple of
/// 16, over vectors V that the processor has.
namespace patchdiff::torch_cpu {

/// Pixels that are worked through for all channels before the next ones are read.
constexpr std::int64_t pixel_block = 64;

/// Calls f(pixel, end, c) for blocks of pixels and, within each, for the vector of channels from `c` on.
template <class V, class F>
[[gnu::always_inline]] inline void for_blocks(std::int64_t pixels, std::int64_t channels, const F& f) noexcept {
  for (std::int64_t block = 0; block < pixels; block += pixel_block) {
    const std::int64_t end = std::min(pixels, block + pixel_block);
    for (std::int64_t c = 0; c < channels; c += lanes_of<V>) f(block, end, c);
  }
}

/// What group norm, told something by channel, is made of: y = f(n(x + shift) scale + offset), f is SiLU or nothing.
///
/// x and y hold `pixels` times `channels` values; shift (none: nullptr), scale and offset `channels`; mean and
/// inverse_deviation one value per group.
template <class Value>
struct NormSample {
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
  std::int64_t groups = 0;
  double epsilon = 0;
  bool silu = false;
  const Value* x = nullptr;
  const float* shift = nullptr;
  const float* scale = nullptr;
  const float* offset = nullptr;
  float* mean = nullptr;
  float* inverse_deviation = nullptr;
  Value* y = nullptr;

  std::int64_t group_size() const noexcept { return channels / groups; }
};

/// Several arrays of a float for each channel.
class ChannelArrays {
 public:
  ChannelArrays(std::int64_t count, std::int64_t channels)
      : channels_(channels), values_(static_cast<std::size_t>(count * channels)) {}
  float* operator[](std::int64_t index) noexcept { return values_.data() + index * channels_; }

 private:
  std::int64_t channels_;
  std::vector<float> values_;
};

/// Adds to sums: those of a block of pixels, so that few numbers are added up in a row.
template <class V>
[[gnu::always_inline]] inline void add_to(float* sums, const V& more) noexcept {
  V sum;
  load(sums, sum);
  store(sums, sum + more);
}

/// Adds the values of a vector of channels, less a pivot, and their squares.
template <class V, class Value>
[[gnu::always_inline]] inline void add_moments(const NormSample<Value>& s, std::int64_t pixel, std::int64_t end,
                                               std::int64_t c, const float* pivots, float* sums,
                                               float* squares) noexcept {
  const Value* x = s.x + c;
  const std::int64_t channels = s.channels;
  V pivot, sum{}, square{};
  load(pivots + c, pivot);
  for (; pixel < end; ++pixel) {
    V value;
    load(x + pixel * channels, value);
    value -= pivot;
    sum += value;
    square += value * value;
  }
  add_to(sums + c, sum);
  add_to(squares + c, square);
}

/// Mean and deviation of each group, by sums of each channel around its first value, which lose nothing where the mean
/// is large.
template <class V, class Value>
[[gnu::always_inline]] inline void group_moments(const NormSample<Value>& s, ChannelArrays& work) noexcept {
  float* sums = work[0];
  float* squares = work[1];
  float* pivots = work[2];
  for (std::int64_t c = 0; c < s.channels; c += lanes_of<V>) {
    V first;
    load(s.x + c, first);
    store(pivots + c, first);
    store(sums + c, V{});
    store(squares + c, V{});
  }
  for_blocks<V>(
      s.pixels, s.channels, [&](std::int64_t pixel, std::int64_t end, std::int64_t c) __attribute__((always_inline)) {
        add_moments<V>(s, pixel, end, c, pivots, sums, squares);
      });
  const std::int64_t size = s.group_size();
  const auto count = static_cast<double>(s.pixels);
  for (std::int64_t group = 0; group < s.groups; ++group) {
    double mean = 0, variance = 0;
    const auto channel_mean = [&](std::int64_t c) {
      return static_cast<double>(pivots[c]) + (s.shift ? static_cast<double>(s.shift[c]) : 0) + sums[c] / count;
    };
    for (std::int64_t c = group * size; c < (group + 1) * size; ++c) mean += channel_mean(c);
    mean /= static_cast<double>(size);
    for (std::int64_t c = group * size; c < (group + 1) * size; ++c) {
      const double within = squares[c] / count - (sums[c] / count) * (sums[c] / count);
      const double between = channel_mean(c) - mean;
      variance += within + between * between;
    }
    variance = std::max(variance / static_cast<double>(size), 0.0);
    s.mean[group] = static_cast<float>(mean);
    s.inverse_deviation[group] = static_cast<float>(1 / std::sqrt(variance + s.epsilon));
  }
}

/// n(x + shift) = x slope + level, by channel.
template <class Value>
[[gnu::always_inline]] inline void normalising_line(const NormSample<Value>& s, float* slope, float* level) noexcept {
  const std::int64_t size = s.group_size();
  for (std::int64_t group = 0, c = 0; group < s.groups; ++group) {
    for (; c < (group + 1) * size; ++c) {
      slope[c] = s.inverse_deviation[group];
      level[c] = ((s.shift ? s.shift[c] : 0.0F) - s.mean[group]) * s.inverse_deviation[group];
    }
  }
}

/// Writes f(x slope + level) of a vector of channels.
template <class V, class Value>
[[gnu::always_inline]] inline void write_norm(const NormSample<Value>& s, std::int64_t pixel, std::int64_t end,
                                              std::int64_t c, const float* slope, const float* level) noexcept {
  const Value* x = s.x + c;
  Value* y = s.y + c;
  const std::int64_t channels = s.channels;
  const bool silu = s.silu;
  V a, b;
  load(slope + c, a);
  load(level + c, b);
  for (; pixel < end; ++pixel) {
    V value;
    load(x + pixel * channels, value);
    value = value * a + b;
    if (silu) {
      V gate;
      sigmoid(value, gate);
      value *= gate;
    }
    store(y + pixel * channels, value);
  }
}

template <class V, class Value>
[[gnu::always_inline]] inline void norm_body(const NormSample<Value>& s, ChannelArrays& work) noexcept {
  group_moments<V>(s, work);
  float* slope = work[0];
  float* level = work[1];
  normalising_line(s, slope, level);
  for (std::int64_t c = 0; c < s.channels; ++c) {
    slope[c] *= s.scale[c];
    level[c] = level[c] * s.scale[c] + s.offset[c];
  }
  for_blocks<V>(
      s.pixels, s.channels, [&](std::int64_t pixel, std::int64_t end, std::int64_t c) __attribute__((always_inline)) {
        write_norm<V>(s, pixel, end, c, slope, level);
      });
}

/// Writes y, mean and inverse_deviation; `work` is of 3 arrays.
template <class V, class Value>
void norm(const NormSample<Value>& sample, ChannelArrays& work) noexcept {
  with_vectors<V, &norm_body<V, Value>>(sample, work);
}

}  // namespace patchdiff::torch_cpu
