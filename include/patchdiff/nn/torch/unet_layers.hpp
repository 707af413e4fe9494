// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <patchdiff/backend/torch/autograd.hpp>
#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/core/compiled_twice.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/torch/bfloat16_convolution.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/cpu_convolution.hpp>
#include <patchdiff/nn/torch/cpu_group_norm.hpp>
#include <patchdiff/nn/torch/cpu_scaled_sum.hpp>
#include <patchdiff/nn/torch/products.hpp>
#include <patchdiff/nn/torch/weight_maker.hpp>
#include <patchdiff/nn/unet_plan.hpp>

/// Layers of the U-Nets of EDM (arXiv 2206.00364, appendix F), named as in published checkpoints.
namespace patchdiff::unet {

struct Linear {
  Linear(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out)
      : Linear(make.layer(name, {out, in}, 1)) {}
  explicit Linear(WeightMaker::Layer layer) : weight(std::move(layer.weight)), bias(std::move(layer.bias)) {}

  at::Tensor operator()(const at::Tensor& x) const { return products::linear(x, weight, bias); }

  at::Tensor weight;
  at::Tensor bias;
};

/// The filter [f_0, f_1, ...] along both axes, of an even number of taps; [1, 1] is the mean of 2x2 pixels, or their
/// copy.
using ResampleFilter = std::vector<std::int64_t>;

/// Halves or doubles the sides of images, channel by channel.
class Resampler {
 public:
  Resampler(WeightMaker& make, const std::string& name, Resample direction, const ResampleFilter& filter)
      : direction_(direction), box_(filter == ResampleFilter{1, 1}) {
    const std::vector<double> taps(filter.begin(), filter.end());
    const double sum = std::accumulate(taps.begin(), taps.end(), 0.0);
    std::vector<double> values;
    for (const double row : taps) {
      for (const double column : taps) values.push_back(row * column / (sum * sum));
    }
    const auto side = static_cast<std::int64_t>(taps.size());
    filter_ = make.buffer(name + ".resample_filter",
                          TorchBackend::from_host(std::span<const double>(values), {1, 1, side, side}, make.device));
  }

  at::Tensor operator()(const at::Tensor& x) const {
    if (direction_ == Resample::down) return halved(x, padding());
    if (box_) return at::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2});
    return at::conv_transpose2d(x, weights(x) * 4, {}, 2, padding(), 0, x.size(1));
  }

  /// The sides halved after `rim` rows and columns of zeros were put around.
  at::Tensor halved(const at::Tensor& x, std::int64_t rim) const {
    if (box_) return at::avg_pool2d(x, {2, 2}, {2, 2}, rim);
    return products::convolution(x, weights(x), {}, {.stride = 2, .padding = rim, .groups = x.size(1)});
  }

  std::int64_t padding() const { return (filter_.size(2) - 1) / 2; }

 private:
  at::Tensor weights(const at::Tensor& x) const { return filter_.expand({x.size(1), 1, -1, -1}); }

  Resample direction_;
  bool box_;
  at::Tensor filter_;
};

/// A convolution, behind a change of the resolution where it has one.
struct Conv2d {
  Conv2d(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
         double gain = 1)
      : Conv2d(make.layer(name, {out, in, kernel, kernel}, gain)) {}
  Conv2d(WeightMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
         Resample direction, const ResampleFilter& filter)
      : Conv2d(make, name, in, out, kernel) {
    if (direction != Resample::none) resampler.emplace(make, name, direction, filter);
  }
  explicit Conv2d(WeightMaker::Layer layer) : weight(std::move(layer.weight)), bias(std::move(layer.bias)) {}

  at::Tensor operator()(const at::Tensor& x) const { return convolved(resampler ? (*resampler)(x) : x, 0); }

  /// The convolution first, then the sides halved; the filter's padding is the convolution's.
  at::Tensor then_halved(const at::Tensor& x) const { return resampler->halved(convolved(x, resampler->padding()), 0); }

  at::Tensor convolved(const at::Tensor& x, std::int64_t more_padding) const {
    const std::int64_t padding = weight.size(2) / 2 + more_padding;
    const std::optional<at::ScalarType> type = cpu_type(weight);
    // LibTorch's convolutions gain by activations that lie channels last with AVX-512 alone.
    const bool as_it_lies = !type || (!has_avx512() && !CpuConvolution::gains(x, weight, padding));
    if (as_it_lies) return products::convolution(x, weight, bias, {.padding = padding});
    const at::Tensor activations = channels_last(x, *type);
    if (CpuConvolution::gains(activations, weight, padding)) return CpuConvolution::apply(activations, weight, bias);
    if (type == at::kBFloat16) return BFloat16Convolution::apply(activations, weight, bias, padding);
    return products::convolution(activations, weight, bias, {.padding = padding});
  }

  at::Tensor weight;
  at::Tensor bias;
  std::optional<Resampler> resampler{};
};

/// What a norm is told, by channel of each sample [N, C]: norm(x + shift) (1 + scale) + offset; scale and offset come
/// together.
struct ChannelChange {
  at::Tensor shift{};
  at::Tensor scale{};
  at::Tensor offset{};
};

/// Errors: ConfigError for channels that do not divide into groups.
struct GroupNorm {
  GroupNorm(WeightMaker& make, const std::string& name, std::int64_t channels, double eps)
      : weight(make.constant(name + ".weight", channels, 1)),
        bias(make.constant(name + ".bias", channels, 0)),
        groups(std::min<std::int64_t>(32, channels / 4)),
        epsilon(eps) {
    if (channels % groups != 0) {
      refuse<ConfigError>(name, "channels", str("a multiple of ", groups), str(channels));
    }
  }

  at::Tensor operator()(const at::Tensor& x) const {
    if (const auto type = kernel_type()) return by_kernel(x, *type, {}, false);
    return normalised(x);
  }

  /// SiLU of the norm, told something by channel.
  at::Tensor with_silu(const at::Tensor& x, const ChannelChange& change = {}) const {
    if (const auto type = kernel_type()) return by_kernel(x, *type, change, true);
    const auto by_channel = [](const at::Tensor& values) { return values.unsqueeze(2).unsqueeze(3); };
    at::Tensor h = normalised(change.shift.defined() ? x + by_channel(change.shift) : x);
    if (change.scale.defined()) h = h * (by_channel(change.scale) + 1) + by_channel(change.offset);
    return at::silu(h);
  }

  at::Tensor weight;
  at::Tensor bias;
  std::int64_t groups;
  double epsilon;

 private:
  std::optional<at::ScalarType> kernel_type() const {
    return fills_vectors(weight.size(0)) ? cpu_type(weight) : std::nullopt;
  }

  /// In the scalar type of its weights: LibTorch 1.13 refuses bfloat16 activations beside float weights.
  at::Tensor normalised(const at::Tensor& x) const {
    return at::group_norm(x.to(weight.scalar_type()), groups, weight, bias, epsilon);
  }

  at::Tensor by_kernel(const at::Tensor& x, at::ScalarType type, const ChannelChange& change, bool silu) const {
    at::Tensor scale = weight.expand({x.size(0), -1}), offset = bias.expand({x.size(0), -1});
    if (change.scale.defined()) {
      const at::Tensor gain = change.scale.to(at::kFloat) + 1;
      scale = scale * gain;
      offset = offset * gain + change.offset;
    }
    const at::Tensor shift =
        change.shift.defined() ? change.shift.to(at::kFloat).contiguous() : at::empty({0}, weight.options());
    return CpuGroupNorm::apply(channels_last(x, type), shift, scale.contiguous(), offset.contiguous(), groups, epsilon,
                               silu);
  }
};

/// (x + y) scale.
inline at::Tensor scaled_sum(const at::Tensor& x, const at::Tensor& y, double scale) {
  const bool has_kernel = x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
  if (has_kernel && y.scalar_type() == x.scalar_type() && y.sizes() == x.sizes() && y.strides() == x.strides() &&
      x.is_non_overlapping_and_dense()) {
    return CpuScaledSum::apply(x, y, scale);
  }
  const at::Tensor sum = x + y;
  return scale == 1 ? sum : sum * scale;
}

}  // namespace patchdiff::unet
