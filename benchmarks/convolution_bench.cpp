// SPDX-License-Identifier: Apache-2.0
// 3x3 convolutions by tiles beside LibTorch's, in turns on the same activations, which lie channels last: forward and
// the gradients of x and of weights and bias, after both were compared with float64. Prints how many times as fast ours
// are and, with --json, writes every figure.

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include <patchdiff/core/compiled_twice.hpp>
#include <patchdiff/nn/torch/bfloat16_convolution.hpp>
#include <patchdiff/nn/torch/cpu_convolution.hpp>

#include "measure.hpp"

namespace {

namespace pd = patchdiff;
using Tensors = std::vector<at::Tensor>;

struct Settings {
  pd::Precision precision = pd::Precision::float32;
  std::int64_t repeats = 21;
  int threads = 1;
  std::string json;
};

struct Shape {
  std::int64_t images, in, out, side;
};

/// Of U-Nets as examples and published models have them: one image, and the images of a step.
constexpr std::array shapes{
    Shape{1, 32, 32, 32},   Shape{1, 32, 32, 16},   Shape{1, 32, 32, 8},     Shape{1, 64, 64, 32},
    Shape{1, 64, 64, 8},    Shape{1, 64, 64, 4},    Shape{1, 128, 128, 16},  Shape{1, 128, 128, 8},
    Shape{1, 256, 256, 4},  Shape{1, 512, 512, 4},  Shape{16, 16, 16, 32},   Shape{16, 32, 32, 32},
    Shape{32, 32, 32, 16},  Shape{64, 32, 32, 8},   Shape{16, 64, 64, 32},   Shape{64, 64, 64, 8},
    Shape{64, 64, 64, 4},   Shape{16, 128, 64, 32}, Shape{16, 128, 128, 16}, Shape{16, 128, 128, 8},
    Shape{16, 256, 256, 4}, Shape{16, 512, 512, 8}};

constexpr std::array<std::string_view, 3> parts{"forward", "gradient_x", "gradient_weights"};

/// A convolution and what it was given; weights are float.
struct Layer {
  std::function<at::Tensor()> convolve;
  at::Tensor x, weight, bias, cotangent;
  at::Tensor y = convolve();

  /// One of `parts`.
  Tensors operator()(std::size_t part) const {
    if (part == 0) {
      const at::NoGradGuard no_grad;
      return {convolve()};
    }
    const Tensors wanted = part == 1 ? Tensors{x} : Tensors{weight, bias};
    return torch::autograd::grad({y}, wanted, {cotangent}, /*retain_graph=*/true);
  }
};

struct Layers {
  Layer tiles, torch, exact;
};

Layers layers_of(const Shape& of, at::ScalarType type) {
  at::manual_seed(1);
  const auto activations = [&](std::int64_t channels) {
    return pd::unet::channels_last(at::randn({of.images, channels, of.side, of.side}), type);
  };
  const at::Tensor x = activations(of.in).requires_grad_(), dy = activations(of.out);
  const at::Tensor w = (at::randn({of.out, of.in, 3, 3}) * 0.05).requires_grad_();
  const at::Tensor b = at::randn({of.out}).requires_grad_();
  const auto by_torch = [=]() -> at::Tensor {
    if (type == at::kFloat) return at::conv2d(x, w, b, 1, 1);
    return pd::unet::BFloat16Convolution::apply(x, w, b, 1);
  };
  const auto in_float64 = [](const at::Tensor& value) { return value.detach().to(at::kDouble).requires_grad_(); };
  const at::Tensor x64 = in_float64(x), w64 = in_float64(w), b64 = in_float64(b);
  return {{[=] { return pd::unet::CpuConvolution::apply(x, w, b); }, x, w, b, dy},
          {by_torch, x, w, b, dy},
          {[=] { return at::conv2d(x64, w64, b64, 1, 1); }, x64, w64, b64, dy.to(at::kDouble)}};
}

/// The largest error, of the largest value.
double error(const Tensors& got, const Tensors& exact) {
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double distance = (got[i].to(at::kDouble) - exact[i]).abs().max().item<double>();
    largest = std::max(largest, distance / exact[i].abs().max().item<double>());
  }
  return largest;
}

Json measure(const Settings& settings, const Shape& of) {
  const bool is_float = settings.precision == pd::Precision::float32;
  const Layers layers = layers_of(of, is_float ? at::kFloat : at::kBFloat16);
  Json figures{{"images", of.images}, {"in", of.in}, {"out", of.out}, {"side", of.side}};
  std::string line = fmt::format("{:2} x {:3} to {:3}, {:2}", of.images, of.in, of.out, of.side);
  const std::int64_t multiplications = 9 * of.in * of.out * of.images * of.side * of.side;
  const std::int64_t calls = std::max<std::int64_t>(1, 100'000'000 / multiplications);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    const Tensors exact = layers.exact(part);
    const double ours = error(layers.tiles(part), exact), theirs = error(layers.torch(part), exact);
    if (!(std::max(ours, theirs) < (is_float ? 1e-5 : 1e-2))) {
      throw std::runtime_error(fmt::format("{}: {} is wrong: errors {} and {}", line, parts[part], ours, theirs));
    }
    const auto repeated = [&](const Layer& layer) {
      return [&layer, part, calls] {
        for (std::int64_t call = 0; call < calls; ++call) layer(part);
      };
    };
    const Comparison compared(settings.repeats, repeated(layers.torch), repeated(layers.tiles), processor_seconds);
    line += fmt::format("  {} {:.2f} ({:.1e}, LibTorch {:.1e})", parts[part], compared.ratio.median, ours, theirs);
    figures[std::string(parts[part])] = {{"times_as_fast", ratio_to_json(compared.ratio)},
                                         {"calls", calls},
                                         {"torch", to_json(compared.first)},
                                         {"tiles", to_json(compared.second)},
                                         {"error", ours},
                                         {"torch_error", theirs}};
  }
  fmt::print("{}\n", line);
  std::fflush(stdout);
  return figures;
}

void run(const Settings& settings) {
  at::set_num_threads(settings.threads);
  if (settings.precision == pd::Precision::float16)
    throw pd::ConfigError("convolution_bench", "--dtype", "float32 or bfloat16", "float16");
  const bool in_bfloat16 = settings.precision == pd::Precision::bfloat16;
  if (in_bfloat16 ? !pd::has_avx512() : !pd::has_avx2()) {
    throw pd::ConfigError("convolution_bench", "processor", in_bfloat16 ? "one with AVX-512" : "one with AVX2",
                          "another");
  }
  Json results = Json::array();
  for (const Shape& shape : shapes) results.push_back(measure(settings, shape));
  write_figures(settings.json, "convolution_bench",
                {{"benchmark", "convolution"},
                 {"libtorch", TORCH_VERSION},
                 {"threads", settings.threads},
                 {"dtype", pd::name_of(settings.precision)},
                 {"results", results}});
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app{"Times 3x3 convolutions by tiles beside LibTorch's.", "convolution_bench"};
  add_dtype(app, settings.precision);
  app.add_option("--repeats", settings.repeats, "turns of each")->check(CLI::PositiveNumber);
  add_threads(app, settings.threads);
  add_json(app, settings.json);
  return run_program(app, argc, argv, [&] { run(settings); });
}
