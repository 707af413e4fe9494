// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

/// Kernels over bfloat16 activations of one sample, pixel by pixel with channels side by side, on the processor.
///
/// Plain loops over vectors of 16 floats, which the compiler makes of what the processor has: each kernel is compiled
/// twice, for AVX-512 and for whatever the host's file is compiled for, and the processor is asked at run time. Vectors
/// go by reference, since the two have other calling conventions. Everything is computed in float and rounded once.
namespace patchdiff::bfloat16_cpu {

/// The bits of a bfloat16.
using Bits16 = std::uint16_t;

constexpr std::int64_t lanes = 16;
using Floats = float __attribute__((vector_size(64)));
using Words = std::uint32_t __attribute__((vector_size(64)));
using Halves = Bits16 __attribute__((vector_size(32)));

/// Pixels that are worked through for all channels before the next ones are read.
constexpr std::int64_t pixel_block = 64;

/// Channels, rounded up to whole vectors.
constexpr std::int64_t padded(std::int64_t channels) noexcept { return (channels + lanes - 1) / lanes * lanes; }

/// Reads up to 16 values; those beyond `count` are zero.
[[gnu::always_inline]] inline void load(const Bits16* from, std::int64_t count, Floats& to) noexcept {
  Halves halves{};
  if (count >= lanes) {
    std::memcpy(&halves, from, sizeof halves);
  } else {
    std::memcpy(&halves, from, static_cast<std::size_t>(count) * sizeof(Bits16));
  }
  const Words words = __builtin_convertvector(halves, Words) << 16;
  std::memcpy(&to, &words, sizeof to);
}

/// Rounds to nearest, ties to even; NaN stays NaN.
[[gnu::always_inline]] inline void store(Bits16* to, std::int64_t count, const Floats& from) noexcept {
  Words words;
  std::memcpy(&words, &from, sizeof words);
  const Words rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16;
  const Words not_a_number = Words{} + 0x7fc0;
  const Halves halves = __builtin_convertvector(from == from ? rounded : not_a_number, Halves);
  if (count >= lanes) {
    std::memcpy(to, &halves, sizeof halves);
  } else {
    std::memcpy(to, &halves, static_cast<std::size_t>(count) * sizeof(Bits16));
  }
}

[[gnu::always_inline]] inline void load(const float* from, Floats& to) noexcept { std::memcpy(&to, from, sizeof to); }
[[gnu::always_inline]] inline void store(float* to, const Floats& from) noexcept {
  std::memcpy(to, &from, sizeof from);
}

/// 1 / (1 + exp(-x)), to about 1e-6 of itself.
[[gnu::always_inline]] inline void sigmoid(const Floats& x, Floats& result) noexcept {
  Floats y = -x;
  y = y < -87.0F ? Floats{} - 87.0F : y;
  y = y > 87.0F ? Floats{} + 87.0F : y;
  // exp(y) = 2^n exp(r): adding 1.5 2^23 rounds to the nearest integer n, and leaves its bits below.
  constexpr float rounder = 12582912.0F;
  const Floats shifted = y * 1.44269504F + rounder;
  const Floats n = shifted - rounder;
  const Floats r = (y - n * 0.693359375F) + n * 2.12194440e-4F;
  Floats p = r * (1.0F / 720) + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  Words power;
  std::memcpy(&power, &shifted, sizeof power);
  power = (power + 127) << 23;
  Floats scale;
  std::memcpy(&scale, &power, sizeof scale);
  result = 1.0F / (1.0F + p * scale);
}

/// What group norm, told something by channel, is made of: y = f(n(x + shift) scale + offset), f is SiLU or nothing.
///
/// x and y hold `pixels` times `channels` values; shift (none: nullptr), scale and offset `channels`; mean and
/// inverse_deviation one value per group.
struct NormSample {
  std::int64_t pixels = 0;
  std::int64_t channels = 0;
  std::int64_t groups = 0;
  double epsilon = 0;
  bool silu = false;
  const Bits16* x = nullptr;
  const float* shift = nullptr;
  const float* scale = nullptr;
  const float* offset = nullptr;
  float* mean = nullptr;
  float* inverse_deviation = nullptr;
  Bits16* y = nullptr;

  std::int64_t group_size() const noexcept { return channels / groups; }
};

/// The gradients of a sample; those by channel may be nullptr where there is no shift.
struct NormGradients {
  const Bits16* y = nullptr;
  Bits16* x = nullptr;
  float* shift = nullptr;
  float* scale = nullptr;
  float* offset = nullptr;
};

/// Several arrays of `padded(channels)` floats.
class ChannelArrays {
 public:
  ChannelArrays(std::int64_t count, std::int64_t channels)
      : stride_(padded(channels)), values_(static_cast<std::size_t>(count * padded(channels))) {}
  float* operator[](std::int64_t index) noexcept { return values_.data() + index * stride_; }

 private:
  std::int64_t stride_;
  std::vector<float> values_;
};

/// Adds the values of up to 16 channels, less a pivot, and their squares.
[[gnu::always_inline]] inline void add_moments(const NormSample& s, std::int64_t pixel, std::int64_t end,
                                               std::int64_t c, std::int64_t count, const float* pivots, float* sums,
                                               float* squares) noexcept {
  const Bits16* x = s.x + c;
  const std::int64_t channels = s.channels;
  Floats pivot, sum, square;
  load(pivots + c, pivot);
  load(sums + c, sum);
  load(squares + c, square);
  for (; pixel < end; ++pixel) {
    Floats value;
    load(x + pixel * channels, count, value);
    value -= pivot;
    sum += value;
    square += value * value;
  }
  store(sums + c, sum);
  store(squares + c, square);
}

/// Mean and deviation of each group, by sums of each channel around its first value, which lose nothing where the mean
/// is large.
[[gnu::always_inline]] inline void group_moments(const NormSample& s, ChannelArrays& work) noexcept {
  float* sums = work[0];
  float* squares = work[1];
  float* pivots = work[2];
  for (std::int64_t c = 0; c < s.channels; c += lanes) {
    Floats first;
    load(s.x + c, s.channels - c, first);
    store(pivots + c, first);
    store(sums + c, Floats{});
    store(squares + c, Floats{});
  }
  for (std::int64_t block = 0; block < s.pixels; block += pixel_block) {
    const std::int64_t end = std::min(s.pixels, block + pixel_block);
    for (std::int64_t c = 0; c < s.channels; c += lanes) {
      if (s.channels - c >= lanes) {
        add_moments(s, block, end, c, lanes, pivots, sums, squares);
      } else {
        add_moments(s, block, end, c, s.channels - c, pivots, sums, squares);
      }
    }
  }
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
[[gnu::always_inline]] inline void normalising_line(const NormSample& s, float* slope, float* level) noexcept {
  const std::int64_t size = s.group_size();
  for (std::int64_t group = 0, c = 0; group < s.groups; ++group) {
    for (; c < (group + 1) * size; ++c) {
      slope[c] = s.inverse_deviation[group];
      level[c] = ((s.shift ? s.shift[c] : 0.0F) - s.mean[group]) * s.inverse_deviation[group];
    }
  }
}

/// Writes f(x slope + level) of up to 16 channels.
[[gnu::always_inline]] inline void write_norm(const NormSample& s, std::int64_t pixel, std::int64_t end, std::int64_t c,
                                              std::int64_t count, const float* slope, const float* level) noexcept {
  const Bits16* x = s.x + c;
  Bits16* y = s.y + c;
  const std::int64_t channels = s.channels;
  const bool silu = s.silu;
  Floats a, b;
  load(slope + c, a);
  load(level + c, b);
  for (; pixel < end; ++pixel) {
    Floats value;
    load(x + pixel * channels, count, value);
    value = value * a + b;
    if (silu) {
      Floats gate;
      sigmoid(value, gate);
      value *= gate;
    }
    store(y + pixel * channels, count, value);
  }
}

[[gnu::always_inline]] inline void norm_body(const NormSample& s, ChannelArrays& work) noexcept {
  group_moments(s, work);
  float* slope = work[0];
  float* level = work[1];
  normalising_line(s, slope, level);
  for (std::int64_t c = 0; c < s.channels; ++c) {
    slope[c] *= s.scale[c];
    level[c] = level[c] * s.scale[c] + s.offset[c];
  }
  for (std::int64_t block = 0; block < s.pixels; block += pixel_block) {
    const std::int64_t end = std::min(s.pixels, block + pixel_block);
    for (std::int64_t c = 0; c < s.channels; c += lanes) {
      if (s.channels - c >= lanes) {
        write_norm(s, block, end, c, lanes, slope, level);
      } else {
        write_norm(s, block, end, c, s.channels - c, slope, level);
      }
    }
  }
}

/// The gradient behind f: that of n(x + shift) scale + offset.
[[gnu::always_inline]] inline void before_activation(const Floats& linear, bool silu, Floats& gradient) noexcept {
  if (!silu) return;
  Floats gate;
  sigmoid(linear, gate);
  gradient *= gate * (1.0F + linear * (1.0F - gate));
}

/// What the gradients of up to 16 channels are made of: [channels] each.
struct NormSums {
  const float *slope, *level, *scale, *offset;
  float* gradients;            ///< sums of the gradient behind f
  float* products;             ///< of it times n
  float* norms;                ///< of n
  float *gain, *drift, *rest;  ///< the gradient of x is (gradient behind f) gain - n drift - rest
};

[[gnu::always_inline]] inline void add_gradients(const NormSample& s, const NormGradients& g, std::int64_t pixel,
                                                 std::int64_t end, std::int64_t c, std::int64_t count,
                                                 const NormSums& sums) noexcept {
  const Bits16* x = s.x + c;
  const Bits16* y = g.y + c;
  const std::int64_t channels = s.channels;
  const bool silu = s.silu;
  Floats slope, level, scale, offset, sum, product, norm;
  load(sums.slope + c, slope);
  load(sums.level + c, level);
  load(sums.scale + c, scale);
  load(sums.offset + c, offset);
  load(sums.gradients + c, sum);
  load(sums.products + c, product);
  load(sums.norms + c, norm);
  for (; pixel < end; ++pixel) {
    Floats value, gradient;
    load(x + pixel * channels, count, value);
    load(y + pixel * channels, count, gradient);
    value = value * slope + level;
    before_activation(value * scale + offset, silu, gradient);
    sum += gradient;
    product += gradient * value;
    norm += value;
  }
  store(sums.gradients + c, sum);
  store(sums.products + c, product);
  store(sums.norms + c, norm);
}

[[gnu::always_inline]] inline void write_gradients(const NormSample& s, const NormGradients& g, std::int64_t pixel,
                                                   std::int64_t end, std::int64_t c, std::int64_t count,
                                                   const NormSums& sums) noexcept {
  const Bits16* x = s.x + c;
  const Bits16* y = g.y + c;
  Bits16* result = g.x + c;
  const std::int64_t channels = s.channels;
  const bool silu = s.silu;
  Floats slope, level, scale, offset, gain, drift, rest;
  load(sums.slope + c, slope);
  load(sums.level + c, level);
  load(sums.scale + c, scale);
  load(sums.offset + c, offset);
  load(sums.gain + c, gain);
  load(sums.drift + c, drift);
  load(sums.rest + c, rest);
  for (; pixel < end; ++pixel) {
    Floats value, gradient;
    load(x + pixel * channels, count, value);
    load(y + pixel * channels, count, gradient);
    value = value * slope + level;
    before_activation(value * scale + offset, silu, gradient);
    store(result + pixel * channels, count, gradient * gain - value * drift - rest);
  }
}

[[gnu::always_inline]] inline void norm_backward_body(const NormSample& s, const NormGradients& g,
                                                      ChannelArrays& work) noexcept {
  normalising_line(s, work[0], work[1]);
  // Copies, as vectors are read whole.
  std::copy_n(s.scale, s.channels, work[2]);
  std::copy_n(s.offset, s.channels, work[3]);
  const NormSums sums{work[0], work[1], work[2], work[3], work[4], work[5], work[6], work[7], work[8], work[9]};
  for (float* each : {sums.gradients, sums.products, sums.norms}) std::fill_n(each, s.channels, 0.0F);
  for (std::int64_t block = 0; block < s.pixels; block += pixel_block) {
    const std::int64_t end = std::min(s.pixels, block + pixel_block);
    for (std::int64_t c = 0; c < s.channels; c += lanes) {
      if (s.channels - c >= lanes) {
        add_gradients(s, g, block, end, c, lanes, sums);
      } else {
        add_gradients(s, g, block, end, c, s.channels - c, sums);
      }
    }
  }
  const std::int64_t size = s.group_size();
  const double share = 1 / static_cast<double>(s.pixels * size);
  for (std::int64_t group = 0; group < s.groups; ++group) {
    double mean = 0, mean_product = 0;
    for (std::int64_t c = group * size; c < (group + 1) * size; ++c) {
      mean += static_cast<double>(sums.gradients[c]) * static_cast<double>(s.scale[c]) * share;
      mean_product += static_cast<double>(sums.products[c]) * static_cast<double>(s.scale[c]) * share;
    }
    const float inverse = s.inverse_deviation[group];
    const float drift = inverse * static_cast<float>(mean_product), rest = inverse * static_cast<float>(mean);
    for (std::int64_t c = group * size; c < (group + 1) * size; ++c) {
      sums.gain[c] = inverse * s.scale[c];
      sums.drift[c] = drift;
      sums.rest[c] = rest;
      g.scale[c] = sums.products[c];
      g.offset[c] = sums.gradients[c];
      if (g.shift) {
        g.shift[c] = sums.gain[c] * sums.gradients[c] - drift * sums.norms[c] - rest * static_cast<float>(s.pixels);
      }
    }
  }
  for (std::int64_t block = 0; block < s.pixels; block += pixel_block) {
    const std::int64_t end = std::min(s.pixels, block + pixel_block);
    for (std::int64_t c = 0; c < s.channels; c += lanes) {
      if (s.channels - c >= lanes) {
        write_gradients(s, g, block, end, c, lanes, sums);
      } else {
        write_gradients(s, g, block, end, c, s.channels - c, sums);
      }
    }
  }
}

/// bfloat16 [out, taps, in] of float [out, in, taps], from output channel `first` to `last`.
[[gnu::always_inline]] inline void cast_weights_body(const float* from, Bits16* to, std::int64_t first,
                                                     std::int64_t last, std::int64_t in, std::int64_t taps,
                                                     Bits16* row) noexcept {
  for (std::int64_t out = first; out < last; ++out) {
    const float* values = from + out * in * taps;
    Bits16* rows = to + out * in * taps;
    Bits16* cast = taps == 1 ? rows : row;
    std::int64_t index = 0;
    for (; index + lanes <= in * taps; index += lanes) {
      Floats value;
      load(values + index, value);
      store(cast + index, lanes, value);
    }
    if (const std::int64_t left = in * taps - index; left > 0) {
      Floats value{};
      std::memcpy(&value, values + index, static_cast<std::size_t>(left) * sizeof(float));
      store(cast + index, left, value);
    }
    if (taps == 1) continue;
    for (std::int64_t tap = 0; tap < taps; ++tap) {
      for (std::int64_t i = 0; i < in; ++i) rows[tap * in + i] = row[i * taps + tap];
    }
  }
}

/// The way back: float [out, in, taps] of bfloat16 [out, taps, in].
[[gnu::always_inline]] inline void widen_weights_body(const Bits16* from, float* to, std::int64_t first,
                                                      std::int64_t last, std::int64_t in, std::int64_t taps,
                                                      Bits16* row) noexcept {
  for (std::int64_t out = first; out < last; ++out) {
    const Bits16* rows = from + out * in * taps;
    float* values = to + out * in * taps;
    for (std::int64_t tap = 0; taps > 1 && tap < taps; ++tap) {
      for (std::int64_t i = 0; i < in; ++i) row[i * taps + tap] = rows[tap * in + i];
    }
    const Bits16* ordered = taps == 1 ? rows : row;
    std::int64_t index = 0;
    for (; index + lanes <= in * taps; index += lanes) {
      Floats value;
      load(ordered + index, lanes, value);
      store(values + index, value);
    }
    if (const std::int64_t left = in * taps - index; left > 0) {
      Floats value;
      load(ordered + index, left, value);
      std::memcpy(values + index, &value, static_cast<std::size_t>(left) * sizeof(float));
    }
  }
}

#if defined(__x86_64__)
inline bool has_avx512() noexcept {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void norm_avx512(const NormSample& sample,
                                                                                  ChannelArrays& work) noexcept {
  norm_body(sample, work);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void norm_backward_avx512(
    const NormSample& sample, const NormGradients& gradients, ChannelArrays& work) noexcept {
  norm_backward_body(sample, gradients, work);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void cast_weights_avx512(
    const float* from, Bits16* to, std::int64_t first, std::int64_t last, std::int64_t in, std::int64_t taps,
    Bits16* row) noexcept {
  cast_weights_body(from, to, first, last, in, taps, row);
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void widen_weights_avx512(
    const Bits16* from, float* to, std::int64_t first, std::int64_t last, std::int64_t in, std::int64_t taps,
    Bits16* row) noexcept {
  widen_weights_body(from, to, first, last, in, taps, row);
}
#endif

/// Writes y, mean and inverse_deviation; `work` is of 3 arrays.
inline void norm(const NormSample& sample, ChannelArrays& work) noexcept {
#if defined(__x86_64__)
  if (has_avx512()) return norm_avx512(sample, work);
#endif
  norm_body(sample, work);
}

/// Writes all gradients, from what `norm` was given and left; `work` is of 10 arrays.
inline void norm_backward(const NormSample& sample, const NormGradients& gradients, ChannelArrays& work) noexcept {
#if defined(__x86_64__)
  if (has_avx512()) return norm_backward_avx512(sample, gradients, work);
#endif
  norm_backward_body(sample, gradients, work);
}

inline void cast_weights(const float* from, Bits16* to, std::int64_t first, std::int64_t last, std::int64_t in,
                         std::int64_t taps) {
  std::vector<Bits16> row(static_cast<std::size_t>(in * taps));
#if defined(__x86_64__)
  if (has_avx512()) return cast_weights_avx512(from, to, first, last, in, taps, row.data());
#endif
  cast_weights_body(from, to, first, last, in, taps, row.data());
}

inline void widen_weights(const Bits16* from, float* to, std::int64_t first, std::int64_t last, std::int64_t in,
                          std::int64_t taps) {
  std::vector<Bits16> row(static_cast<std::size_t>(in * taps));
#if defined(__x86_64__)
  if (has_avx512()) return widen_weights_avx512(from, to, first, last, in, taps, row.data());
#endif
  widen_weights_body(from, to, first, last, in, taps, row.data());
}

}  // namespace patchdiff::bfloat16_cpu
