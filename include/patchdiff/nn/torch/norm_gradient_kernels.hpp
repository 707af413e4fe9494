// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include <patchdiff/backend/torch/lanes.hpp>
#include <patchdiff/nn/torch/norm_kernels.hpp>

/// The gradients of group norm with all around it, over one sample.
namespace patchdiff::torch_cpu {

/// The gradients of a sample; those by channel may be nullptr where there is no shift.
template <class Value>
struct NormGradients {
  const Value* y = nullptr;
  Value* x = nullptr;
  float* shift = nullptr;
  float* scale = nullptr;
  float* offset = nullptr;
};

/// The gradient behind f: that of n(x + shift) scale + offset.
template <class V>
[[gnu::always_inline]] inline void before_activation(const V& linear, bool silu, V& gradient) noexcept {
  if (!silu) return;
  V gate;
  sigmoid(linear, gate);
  gradient *= gate * (1.0F + linear * (1.0F - gate));
}

/// What the gradients of channels are made of: [channels] each.
struct NormSums {
  const float *slope, *level, *scale, *offset;
  float* gradients;            ///< sums of the gradient behind f
  float* products;             ///< of it times n
  float* norms;                ///< of n
  float *gain, *drift, *rest;  ///< the gradient of x is (gradient behind f) gain - n drift - rest
};

template <class V, class Value>
[[gnu::always_inline]] inline void add_gradients(const NormSample<Value>& s, const NormGradients<Value>& g,
                                                 std::int64_t pixel, std::int64_t end, std::int64_t c,
                                                 const NormSums& sums) noexcept {
  const Value* x = s.x + c;
  const Value* y = g.y + c;
  const std::int64_t channels = s.channels;
  const bool silu = s.silu;
  V slope, level, scale, offset, sum{}, product{}, norm{};
  load(sums.slope + c, slope);
  load(sums.level + c, level);
  load(sums.scale + c, scale);
  load(sums.offset + c, offset);
  for (; pixel < end; ++pixel) {
    V value, gradient;
    load(x + pixel * channels, value);
    load(y + pixel * channels, gradient);
    value = value * slope + level;
    before_activation(value * scale + offset, silu, gradient);
    sum += gradient;
    product += gradient * value;
    norm += value;
  }
  add_to(sums.gradients + c, sum);
  add_to(sums.products + c, product);
  add_to(sums.norms + c, norm);
}

template <class V, class Value>
[[gnu::always_inline]] inline void write_gradients(const NormSample<Value>& s, const NormGradients<Value>& g,
                                                   std::int64_t pixel, std::int64_t end, std::int64_t c,
                                                   const NormSums& sums) noexcept {
  const Value* x = s.x + c;
  const Value* y = g.y + c;
  Value* result = g.x + c;
  const std::int64_t channels = s.channels;
  const bool silu = s.silu;
  V slope, level, scale, offset, gain, drift, rest;
  load(sums.slope + c, slope);
  load(sums.level + c, level);
  load(sums.scale + c, scale);
  load(sums.offset + c, offset);
  load(sums.gain + c, gain);
  load(sums.drift + c, drift);
  load(sums.rest + c, rest);
  for (; pixel < end; ++pixel) {
    V value, gradient;
    load(x + pixel * channels, value);
    load(y + pixel * channels, gradient);
    value = value * slope + level;
    before_activation(value * scale + offset, silu, gradient);
    store(result + pixel * channels, gradient * gain - value * drift - rest);
  }
}

template <class V, class Value>
[[gnu::always_inline]] inline void norm_backward_body(const NormSample<Value>& s, const NormGradients<Value>& g,
                                                      ChannelArrays& work) noexcept {
  normalising_line(s, work[0], work[1]);
  const NormSums sums{work[0], work[1], s.scale, s.offset, work[2], work[3], work[4], work[5], work[6], work[7]};
  for (float* each : {sums.gradients, sums.products, sums.norms}) std::fill_n(each, s.channels, 0.0F);
  for_blocks<V>(
      s.pixels, s.channels, [&](std::int64_t pixel, std::int64_t end, std::int64_t c) __attribute__((always_inline)) {
        add_gradients<V>(s, g, pixel, end, c, sums);
      });
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
  for_blocks<V>(
      s.pixels, s.channels, [&](std::int64_t pixel, std::int64_t end, std::int64_t c) __attribute__((always_inline)) {
        write_gradients<V>(s, g, pixel, end, c, sums);
      });
}

/// Writes all gradients, from what `norm` was given and left; `work` is of 8 arrays.
template <class V, class Value>
void norm_backward(const NormSample<Value>& sample, const NormGradients<Value>& gradients,
                   ChannelArrays& work) noexcept {
  with_vectors<V, &norm_backward_body<V, Value>>(sample, gradients, work);
}

}  // namespace patchdiff::torch_cpu
