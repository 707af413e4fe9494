// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/inference/register_tile.hpp>

namespace patchdiff::inference {

/// A convolution with a kernel of 1x1 or 3x3, stride 1, computed directly: no matrix of neighbours is made.
///
/// Weights lie as the inner loop reads them, once; `visit_state` shows them as [out, in, k, k]. An input of a 3x3
/// kernel stands in a border of zeros (`Buffer::bordered`).
template <class Scalar>
class Convolution {
 public:
  Convolution(std::string name, std::int64_t in, std::int64_t out, std::int64_t kernel)
      : name_(std::move(name)),
        in_(in),
        out_(out),
        kernel_(kernel),
        weights_(Values<Scalar>::Zero(padded_out() * depth())),
        bias_(Values<Scalar>::Zero(padded_out())) {}

  /// `out` = convolution of x, plus bias.
  void operator()(const ImageView<Scalar>& x, const ImageView<Scalar>& out, ExecutorReference executor) const {
    run(x, out, {.bias = bias_.data()}, executor);
  }

  /// The same with a bias that is told by channel, in `padded_out()` values.
  void with_bias(const Scalar* bias, const ImageView<Scalar>& x, const ImageView<Scalar>& out,
                 ExecutorReference executor) const {
    run(x, out, {.bias = bias}, executor);
  }

  /// `out` = (convolution of x + bias + residual) scale; the residual lies as `out` does, and may be `out`.
  void add_to(const ImageView<Scalar>& residual, Scalar scale, const ImageView<Scalar>& x, const ImageView<Scalar>& out,
              ExecutorReference executor) const {
    run(x, out, {.bias = bias_.data(), .residual = residual.data, .scale = scale}, executor);
  }

  std::int64_t in() const noexcept { return in_; }
  std::int64_t out() const noexcept { return out_; }
  const Values<Scalar>& bias() const noexcept { return bias_; }
  std::int64_t padded_out() const noexcept { return (out_ + packet - 1) / packet * packet; }

  template <class Visitor>
  void visit_state(Visitor& visit, EigenDevice<Scalar> device) {
    EigenTensor<Scalar> weight({out_, in_, kernel_, kernel_}, device), bias({out_}, device);
    for_weights([&](std::int64_t shown, std::int64_t packed) { weight.data()[shown] = weights_[packed]; });
    visit(std::string_view(name_ + ".weight"), weight);
    for_weights([&](std::int64_t shown, std::int64_t packed) { weights_[packed] = weight.data()[shown]; });
    bias.array() = bias_.head(out_);
    visit(std::string_view(name_ + ".bias"), bias);
    bias_.head(out_) = bias.array();
  }

 private:
  static constexpr std::int64_t packet = packet_size<Scalar>;
  /// As many sums as hide the time of a multiplication, and leave registers for its operands.
  static constexpr int tile_pixels = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS >= 32 ? 8 : 4;
  /// Multiplications of one task; fewer cost less than waking another thread.
  static constexpr std::int64_t task_products = 1 << 21;

  /// Inputs of one output.
  std::int64_t depth() const noexcept { return in_ * kernel_ * kernel_; }

  /// Calls f(index in [out, in, k, k], index as packed): by two packets of outputs, ky, kx, input, output.
  template <class F>
  void for_weights(const F& f) const {
    std::int64_t shown = 0;
    for (std::int64_t o = 0; o < out_; ++o) {
      const std::int64_t block = o / (2 * packet) * (2 * packet);
      const std::int64_t width = std::min(2 * packet, padded_out() - block);
      for (std::int64_t i = 0; i < in_; ++i) {
        for (std::int64_t tap = 0; tap < kernel_ * kernel_; ++tap, ++shown) {
          f(shown, block * depth() + (tap * in_ + i) * width + (o - block));
        }
      }
    }
  }

  void run(const ImageView<Scalar>& x, const ImageView<Scalar>& out, const Epilogue<Scalar>& epilogue,
           ExecutorReference executor) const {
    // Tasks of whole rows and pairs of packets: of rows first, since all rows read the same weights.
    const std::int64_t pairs = (padded_out() + 2 * packet - 1) / (2 * packet);
    const std::int64_t row_products = x.size.width * depth() * padded_out();
    const std::int64_t rows = std::clamp<std::int64_t>(task_products / row_products, 1, x.size.height);
    const std::int64_t strips = (x.size.height + rows - 1) / rows;
    const std::int64_t pairs_of_task =
        std::clamp<std::int64_t>(task_products / (rows * x.size.width * depth() * 2 * packet), 1, pairs);
    const std::int64_t parts = (pairs + pairs_of_task - 1) / pairs_of_task;
    executor.parallel_for(strips * parts, [&](std::int64_t task) {
      const std::int64_t first_row = task / parts * rows, first_pair = task % parts * pairs_of_task;
      const std::int64_t last_row = std::min(first_row + rows, x.size.height);
      for (std::int64_t pair = first_pair; pair < std::min(first_pair + pairs_of_task, pairs); ++pair) {
        const std::int64_t channel = pair * 2 * packet;
        const Scalar* weights = weights_.data() + channel * depth();
        for (std::int64_t y = first_row; y < last_row; ++y) {
          if (padded_out() - channel > packet) {
            run_row<2>(x, out, epilogue, y, channel, weights);
          } else {
            run_row<1>(x, out, epilogue, y, channel, weights);
          }
        }
      }
    });
  }

  template <int Packets>
  void run_row(const ImageView<Scalar>& x, const ImageView<Scalar>& out, const Epilogue<Scalar>& epilogue,
               std::int64_t y, std::int64_t channel, const Scalar* weights) const {
    std::int64_t column = 0;
    const auto tiles = [&]<int Pixels>(std::integral_constant<int, Pixels>) {
      for (; column + Pixels <= x.size.width; column += Pixels) {
        run_tile<Pixels, Packets>(x, out, epilogue, y, column, channel, weights);
      }
    };
    tiles(std::integral_constant<int, tile_pixels>{});
    if constexpr (tile_pixels > 4) tiles(std::integral_constant<int, 4>{});
    tiles(std::integral_constant<int, 2>{});
    tiles(std::integral_constant<int, 1>{});
  }

  template <int Pixels, int Packets>
  EIGEN_DONT_INLINE void run_tile(const ImageView<Scalar>& x, const ImageView<Scalar>& out,
                                  const Epilogue<Scalar>& epilogue, std::int64_t y, std::int64_t column,
                                  std::int64_t channel, const Scalar* weights) const {
    RegisterTile<Scalar, Pixels, Packets> tile;
    const std::int64_t reach = kernel_ / 2, along = kernel_ * in_;  // the neighbours in a row lie side by side
    for (std::int64_t ky = 0; ky < kernel_; ++ky, weights += along * tile.width) {
      tile.add(x.pixel(y + ky - reach, column - reach), in_, weights, along);
    }
    const std::int64_t at = out.pixel(y, column) - out.data + channel;
    const Scalar* residual = epilogue.residual == nullptr ? nullptr : epilogue.residual + at;
    tile.store(out.data + at, out.channels, std::min<std::int64_t>(tile.width, out_ - channel),
               {.bias = epilogue.bias + channel, .residual = residual, .scale = epilogue.scale});
  }

  std::string name_;
  std::int64_t in_, out_, kernel_;
  Values<Scalar> weights_;  ///< packed, with zeros for channels that do not exist
  Values<Scalar> bias_;     ///< in whole packets
};

}  // namespace patchdiff::inference
