// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>

#include <patchdiff/core/compiled_twice.hpp>
#include <patchdiff/nn/torch/cpu_activations.hpp>
#include <patchdiff/nn/torch/differentiable.hpp>
#include <patchdiff/nn/torch/winograd_convolution.hpp>

namespace patchdiff::unet {

/// A 3x3 convolution of stride and padding 1 of activations in float or bfloat16 that lie channels last, by Winograd's
/// tiles. All is computed in float; weights and their gradients are float.
///
/// For processors with AVX2, in bfloat16 with AVX-512. Observers of LibTorch's operators see it as
/// `patchdiff::convolution` and `patchdiff::convolution_backward`.
struct CpuConvolution final : Differentiable {
  /// Whether this is that convolution, and faster than LibTorch's: with AVX2 and channels that are a multiple of 16; in
  /// bfloat16 with AVX-512, no fewer than 32, and without matrix units, which only LibTorch uses.
  static bool gains(const at::Tensor& x, const at::Tensor& weight, std::int64_t padding) {
    const bool is_float = x.scalar_type() == at::kFloat;
    const auto fit = [&](std::int64_t channels) {
      return fills_vectors(channels) && (is_float || channels >= 2 * torch_cpu::lanes);
    };
    return (is_float ? has_avx2() : has_avx512() && !has_amx_bfloat16()) && x.device().is_cpu() && padding == 1 &&
           weight.size(2) == 3 && weight.size(3) == 3 && fit(weight.size(0)) && fit(weight.size(1)) &&
           x.size(1) == weight.size(1) && x.numel() > 0;
  }

  /// Whether tiles of 4x4 pixels are faster than those of 2x2: where they have fewer products, which weigh more than
  /// the weights' places, 36 for each pair of channels instead of 16.
  static bool large_tiles_gain(const at::Tensor& x, const at::Tensor& weight) {
    using torch_cpu::LargeTiles, torch_cpu::SmallTiles;
    const std::int64_t large = grid_of<LargeTiles>(x).count(), small = grid_of<SmallTiles>(x).count();
    const std::int64_t channels = std::max(weight.size(0), weight.size(1));
    return large * LargeTiles::places < small * SmallTiles::places && large >= std::max<std::int64_t>(64, channels / 2);
  }

  static at::Tensor apply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return recorded<CpuConvolution>({x, weight, bias});
  }

  at::Tensor forward(const Variables& inputs) override { return convolved(inputs[0], inputs[1], inputs[2]); }

  Variables backward(const Variables& inputs, const at::Tensor& cotangent) override {
    if (at::GradMode::is_enabled()) {
      return autograd_gradients(
          [](const Variables& from) {
            return at::conv2d(from[0].to(at::kFloat), from[1], from[2], 1, 1).to(from[0].scalar_type());
          },
          inputs, inputs.size(), cotangent);
    }
    return gradients_of(channels_last(cotangent, inputs[0].scalar_type()), inputs[0], inputs[1],
                        task_should_compute_output(0), task_should_compute_output(1) || task_should_compute_output(2));
  }

  /// y [N, out, H, W] of x [N, in, H, W] of the same type that lies channels last, weight [out, in, 3, 3] and bias
  /// [out].
  static at::Tensor convolved(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    RECORD_FUNCTION("patchdiff::convolution", (std::array<const c10::IValue, 3>{x, weight, bias}));
    const at::Tensor y = like(x, weight.size(0)), w = weight.contiguous(), b = bias.contiguous();
    by_tiles(x, weight, [&]<class Tiles, class V, class Value>(const torch_cpu::TileGrid& grid) {
      torch_cpu::winograd_convolution<Tiles, V>(grid, values_of<Value>(x), weights_of(w, false), values_of<float>(b),
                                                values_of<Value>(y));
    });
    return y;
  }

  /// Gradients of x, weight and bias; those not asked for are undefined.
  static Variables gradients_of(const at::Tensor& cotangent, const at::Tensor& x, const at::Tensor& weight, bool of_x,
                                bool of_weights) {
    RECORD_FUNCTION("patchdiff::convolution_backward",
                    (std::array<const c10::IValue, 5>{cotangent, x, weight, of_x, of_weights}));
    Variables found(3);
    by_tiles(x, weight, [&]<class Tiles, class V, class Value>(const torch_cpu::TileGrid& grid) {
      if (of_x) {
        const at::Tensor w = weight.contiguous();
        found[0] = like(cotangent, x.size(1));
        torch_cpu::winograd_convolution<Tiles, V>(grid, values_of<Value>(cotangent), weights_of(w, true), nullptr,
                                                  values_of<Value>(found[0]));
      }
      if (of_weights) {
        found[1] = at::empty(weight.sizes(), weight.options(), at::MemoryFormat::Contiguous);
        found[2] = at::empty({weight.size(0)}, weight.options());
        torch_cpu::winograd_weight_gradients<Tiles, V>(grid, values_of<Value>(x), x.size(1),
                                                       values_of<Value>(cotangent), weight.size(0),
                                                       values_of<float>(found[1]), values_of<float>(found[2]));
      }
    });
    return found;
  }

 private:
  template <class Tiles>
  static torch_cpu::TileGrid grid_of(const at::Tensor& x) {
    return {x.size(0), x.size(2), x.size(3), Tiles::side};
  }

  template <class F>
  static void by_tiles(const at::Tensor& x, const at::Tensor& weight, const F& f) {
    using torch_cpu::LargeTiles, torch_cpu::SmallTiles;
    by_kernel_types(x, [&]<class V, class Value>() {
      if (large_tiles_gain(x, weight))
        f.template operator()<LargeTiles, V, Value>(grid_of<LargeTiles>(x));
      else
        f.template operator()<SmallTiles, V, Value>(grid_of<SmallTiles>(x));
    });
  }

  static torch_cpu::WinogradWeights weights_of(const at::Tensor& weight, bool turned) {
    const std::int64_t out = weight.size(0), in = weight.size(1);
    return {values_of<float>(weight), turned ? out : in, turned ? in : out, turned};
  }

  static at::Tensor like(const at::Tensor& x, std::int64_t channels) {
    return at::empty({x.size(0), channels, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  }
};

}  // namespace patchdiff::unet
