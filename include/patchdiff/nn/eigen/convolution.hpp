// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/matrix_product.hpp>
#include <patchdiff/nn/eigen/neighbours.hpp>
#include <patchdiff/nn/eigen/weights.hpp>

namespace patchdiff::layers {

/// A convolution with a kernel of 3x3 or 1x1 over zero padding, with stride 1.
template <class Scalar>
class Convolution {
 public:
  Convolution(WeightList<Scalar>& weights, const std::string& name, std::int64_t in, std::int64_t out,
              std::int64_t kernel, RandomKey key, double gain = 1)
      : in_(in),
        out_(out),
        kernel_(kernel),
        weight_(weights.uniform(name + ".weight", {out, in, kernel, kernel}, gain, key)),
        bias_(weights.constant(name + ".bias", out, 0)) {}

  FeatureMap<Scalar> operator()(const FeatureMap<Scalar>& x) const {
    FeatureMap<Scalar> y(out_, x.size);
    y.values.colwise() = bias_.column();
    visit_tiles(x.size, [&](const Tile& tile) {
      if (kernel_ == 3) tile.neighbours.gather(x, tile.matrix);
      add_product(y.values.data() + tile.start, y.pixels(), kernel(), inputs(x, tile));
    });
    return y;
  }

  /// Adds the gradients of <y, slope> to those of the weights; returns that of x.
  FeatureMap<Scalar> backward(const FeatureMap<Scalar>& x, const FeatureMap<Scalar>& slope,
                              Column<Scalar>& gradients) const {
    FeatureMap<Scalar> x_slope(in_, x.size);
    x_slope.values.setZero();
    bias_.gradient_column(gradients) += slope.values.rowwise().sum();
    visit_tiles(x.size, [&](const Tile& tile) {
      const std::int64_t pixels = tile.neighbours.pixels();
      const auto tile_slope = matrix_view(slope.values.data() + tile.start, out_, pixels, slope.pixels());
      if (kernel_ == 3) tile.neighbours.gather(x, tile.matrix);
      add_product(weight_.gradient_column(gradients).data(), depth(), tile_slope, inputs(x, tile).transpose());
      if (kernel_ == 1) {
        add_product(x_slope.values.data() + tile.start, x.pixels(), kernel().transpose(), tile_slope);
        return;
      }
      std::fill_n(tile.matrix, depth() * pixels, Scalar{0});
      add_product(tile.matrix, pixels, kernel().transpose(), tile_slope);
      tile.neighbours.scatter(tile.matrix, x_slope);
    });
    return x_slope;
  }

 private:
  struct Tile {
    Neighbours neighbours;
    std::int64_t start = 0;    ///< its first pixel
    Scalar* matrix = nullptr;  ///< room for the neighbours
  };

  /// Size of the matrix of neighbours that is made at a time: it stays in the processor's cache, and where the C
  /// library maps larger pieces of memory anew each time, that costs as much as the product.
  static constexpr std::int64_t tile_bytes = 96 * 1024;

  /// Length of the sums that make a pixel.
  std::int64_t depth() const { return in_ * kernel_ * kernel_; }

  auto kernel() const { return matrix_view(weight_.value.data(), out_, depth(), depth()); }

  /// What the tile's pixels see: [depth, pixels].
  auto inputs(const FeatureMap<Scalar>& x, const Tile& tile) const {
    const std::int64_t pixels = tile.neighbours.pixels();
    if (kernel_ == 1) return matrix_view(x.values.data() + tile.start, in_, pixels, x.pixels());
    return matrix_view<Scalar>(tile.matrix, depth(), pixels, pixels);
  }

  template <class F>
  void visit_tiles(ImageSize image, F&& f) const {
    const std::int64_t row_bytes = depth() * image.width * std::int64_t{sizeof(Scalar)};
    const std::int64_t rows = std::clamp<std::int64_t>(tile_bytes / row_bytes, 1, image.height);
    Column<Scalar> matrix(kernel_ == 3 ? depth() * rows * image.width : 0);
    for (std::int64_t row = 0; row < image.height; row += rows) {
      f(Tile{Neighbours(image, row, std::min(row + rows, image.height)), row * image.width, matrix.data()});
    }
  }

  std::int64_t in_;
  std::int64_t out_;
  std::int64_t kernel_;
  Weight<Scalar> weight_;
  Weight<Scalar> bias_;
};

}  // namespace patchdiff::layers
