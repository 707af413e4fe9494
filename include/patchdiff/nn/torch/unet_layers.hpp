// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <fmt/format.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/network.hpp>

/// Layers of the U-Nets of EDM (arXiv 2206.00364, appendix F), named as in published checkpoints.
namespace patchdiff::unet {

/// Draws the initial weights of a network and hands them to it, layer by layer.
struct WeightMaker {
  std::function<at::Tensor(std::string, at::Tensor)> add_parameter;
  std::function<at::Tensor(std::string, at::Tensor)> add_buffer;
  RandomKey key;
  TorchDevice device;
  std::uint64_t drawn = 0;

  /// Xavier-uniform weights [out, in, ...] times `gain`.
  ///
  /// Draws: parameter number p of the network uses the stream `Purpose::initial_weights` p.
  at::Tensor weight(std::string name, const Shape& shape, double gain) {
    const double fans = static_cast<double>(element_count(shape) / shape[0] + element_count(shape) / shape[1]);
    const double bound = gain * std::sqrt(6 / fans);
    const RandomStream stream(key, Purpose::initial_weights, 0, drawn++);
    std::vector<double> values(static_cast<std::size_t>(element_count(shape)));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = bound * (2 * stream.uniform(i) - 1);
    return add_parameter(std::move(name), TorchBackend::from_host(std::span<const double>(values), shape, device));
  }

  at::Tensor constant(std::string name, std::int64_t size, double value) {
    return add_parameter(std::move(name), at::full({size}, value, device.options()));
  }
};

struct Linear {
  Linear(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out, bool with_bias = true)
      : weight(make.weight(name + ".weight", {out, in}, 1)) {
    if (with_bias) bias = make.constant(name + ".bias", out, 0);
  }

  at::Tensor operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }

  at::Tensor weight;
  at::Tensor bias{};
};

/// What happens to the resolution before a convolution, by the filter [1, 1]: the mean of 2x2 pixels, or their copy.
enum class Resample { none, down, up };

inline at::Tensor resampled(const at::Tensor& x, Resample resample) {
  switch (resample) {
    case Resample::down: return at::avg_pool2d(x, {2, 2});
    case Resample::up: return at::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2});
    case Resample::none: break;
  }
  return x;
}

struct Conv2d {
  Conv2d(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
         double gain = 1, Resample resample_first = Resample::none)
      : weight(make.weight(name + ".weight", {out, in, kernel, kernel}, gain)),
        bias(make.constant(name + ".bias", out, 0)),
        padding(kernel / 2),
        resample(resample_first) {
    // The filter as published checkpoints hold it; `resampled` has it built in.
    if (resample != Resample::none) {
      make.add_buffer(name + ".resample_filter", at::full({1, 1, 2, 2}, 0.25, make.device.options()));
    }
  }

  at::Tensor operator()(const at::Tensor& x) const {
    return at::conv2d(resampled(x, resample), weight, bias, 1, padding);
  }

  at::Tensor weight;
  at::Tensor bias;
  std::int64_t padding;
  Resample resample;
};

/// Errors: ConfigError for channels that do not divide into groups.
struct GroupNorm {
  GroupNorm(WeightMaker& make, const std::string& name, std::int64_t channels, double eps)
      : weight(make.constant(name + ".weight", channels, 1)),
        bias(make.constant(name + ".bias", channels, 0)),
        groups(std::min<std::int64_t>(32, channels / 4)),
        epsilon(eps) {
    if (channels % groups != 0) {
      throw ConfigError(name, "channels", fmt::format("a multiple of {}", groups), fmt::format("{}", channels));
    }
  }

  /// In the scalar type of its weights: LibTorch 1.13 refuses bfloat16 activations beside float weights.
  at::Tensor operator()(const at::Tensor& x) const {
    return at::group_norm(x.to(weight.scalar_type()), groups, weight, bias, epsilon);
  }

  at::Tensor weight;
  at::Tensor bias;
  std::int64_t groups;
  double epsilon;
};

/// Sines and cosines of c_noise at n/2 frequencies (1/10000)^(i / (n/2 - 1)): [N, n], computed on the host in double.
inline at::Tensor positional_embedding(std::span<const double> c_noise, std::int64_t width, TorchDevice device) {
  const std::int64_t half = width / 2;
  std::vector<double> values;
  for (const double noise : c_noise) {
    for (const bool sine : {true, false}) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double exponent = static_cast<double>(i) / static_cast<double>(std::max<std::int64_t>(1, half - 1));
        const double angle = noise * std::pow(1.0 / 10000, exponent);
        values.push_back(sine ? std::sin(angle) : std::cos(angle));
      }
    }
  }
  const auto count = static_cast<std::int64_t>(c_noise.size());
  return TorchBackend::from_host(std::span<const double>(values), {count, width}, device);
}

/// Sets each element to zero with the given probability and scales the others up, from keyed draws.
///
/// Draws: element e of sample n in layer l uses word l 2^34 + e of the step's stream `Purpose::dropout` n.
inline at::Tensor dropout(const at::Tensor& x, double probability, const Pass& pass, std::uint64_t layer) {
  if (!pass.training || probability == 0) return x;
  const Shape shape = TorchBackend::shape(x);
  const std::int64_t row = element_count(shape) / shape[0];
  std::vector<float> mask(static_cast<std::size_t>(element_count(shape)));
  const auto limit = static_cast<std::uint64_t>(probability * 0x1p32);
  const auto kept = static_cast<float>(1 / (1 - probability));
  at::parallel_for(0, shape[0], 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t sample = begin; sample < end; ++sample) {
      const RandomStream stream(pass.key, Purpose::dropout, pass.step,
                                pass.first_sample + static_cast<std::uint64_t>(sample));
      float* out = mask.data() + sample * row;
      for (std::int64_t element = 0; element < row; element += 4) {
        const auto words = stream.block((layer << 32) + static_cast<std::uint64_t>(element) / 4);
        for (std::int64_t word = 0; word < std::min<std::int64_t>(4, row - element); ++word) {
          out[element + word] = words[static_cast<std::size_t>(word)] < limit ? 0.0F : kept;
        }
      }
    }
  });
  return x * TorchBackend::from_host(std::span<const float>(mask), shape, {x.device(), x.scalar_type()});
}

/// Settings that the blocks of one network share.
struct BlockSettings {
  std::int64_t embedding_channels = 0;
  double dropout = 0;
  double skip_scale = 1;
  double epsilon = 1e-6;
  double qkv_gain = 1;
};

/// A residual block: two convolutions under group norm, told the noise level, with optional self-attention behind.
class Block {
 public:
  Block(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out, bool attention,
        Resample resample, const BlockSettings& settings, std::uint64_t layer)
      : settings_(settings),
        layer_(layer),
        norm0_(make, name + ".norm0", in, settings.epsilon),
        conv0_(make, name + ".conv0", in, out, 3, 1, resample),
        affine_(make, name + ".affine", settings.embedding_channels, out),
        norm1_(make, name + ".norm1", out, settings.epsilon),
        conv1_(make, name + ".conv1", out, out, 3, near_zero) {
    if (in != out || resample != Resample::none) skip_.emplace(make, name + ".skip", in, out, 1, 1, resample);
    if (!attention) return;
    norm2_.emplace(make, name + ".norm2", out, settings.epsilon);
    qkv_.emplace(make, name + ".qkv", out, out * 3, 1, settings.qkv_gain);
    projection_.emplace(make, name + ".proj", out, out, 1, near_zero);
  }

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& embedding, const Pass& pass) const {
    at::Tensor h = conv0_(at::silu(norm0_(x)));
    h = at::silu(norm1_(h + affine_(embedding).unsqueeze(2).unsqueeze(3)));
    h = conv1_(dropout(h, settings_.dropout, pass, layer_));
    h = (h + (skip_ ? (*skip_)(x) : x)) * settings_.skip_scale;
    return qkv_ ? ((*projection_)(attended(h)) + h) * settings_.skip_scale : h;
  }

 private:
  static constexpr double near_zero = 1e-5;  ///< gain of layers that start as almost nothing

  /// Softmax attention over pixels, one head, in float32 or the network's precision where that is higher.
  at::Tensor attended(const at::Tensor& h) const {
    const auto pixels = h.size(2) * h.size(3);
    const at::Tensor qkv = (*qkv_)((*norm2_)(h)).view({h.size(0), h.size(1), 3, pixels});
    const at::Tensor query = qkv.select(2, 0), key = qkv.select(2, 1), value = qkv.select(2, 2);
    const double scale = 1 / std::sqrt(static_cast<double>(h.size(1)));
    const at::Tensor logits = at::bmm(query.transpose(1, 2), key * scale).to(norm2_->weight.scalar_type());
    const at::Tensor weights = at::softmax(logits, 2);
    return at::bmm(value, weights.to(value.scalar_type()).transpose(1, 2)).view(h.sizes());
  }

  BlockSettings settings_;
  std::uint64_t layer_;
  GroupNorm norm0_;
  Conv2d conv0_;
  Linear affine_;
  GroupNorm norm1_;
  Conv2d conv1_;
  std::optional<Conv2d> skip_;
  std::optional<GroupNorm> norm2_;
  std::optional<Conv2d> qkv_;
  std::optional<Conv2d> projection_;
};

}  // namespace patchdiff::unet
