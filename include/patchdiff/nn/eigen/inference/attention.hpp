// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/nn/eigen/inference/buffer.hpp>
#include <patchdiff/nn/eigen/inference/convolution.hpp>
#include <patchdiff/nn/eigen/inference/group_norm.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/matrix_product.hpp>

namespace patchdiff::inference {

/// Softmax attention over the pixels of an image with one head, added to it: x = (x + attended(norm(x))) scale.
///
/// Cost: memory for 32 rows of the matrix [pixels, pixels] a task.
template <class Scalar>
class Attention {
 public:
  /// Memory of a call.
  struct Scratch {
    Buffer<Scalar> normal{}, qkv{}, mixed{};
    typename GroupNorm<Scalar>::Scratch norm{};
  };

  Attention(const std::string& name, std::int64_t channels, EigenDevice<Scalar> device)
      : norm_(name + ".norm2", channels, device),
        qkv_(name + ".qkv", channels, 3 * channels, 1),
        projection_(name + ".proj", channels, channels, 1) {}

  void operator()(const ImageView<Scalar>& x, Scalar scale, Scratch& scratch, ExecutorReference executor) const {
    const ImageView<Scalar> normal = scratch.normal.image(x.size, x.channels);
    norm_(x, normal, scratch.norm, executor);
    const ImageView<Scalar> qkv = scratch.qkv.image(x.size, 3 * x.channels);
    qkv_(normal, qkv, executor);
    const ImageView<Scalar> mixed = scratch.mixed.image(x.size, x.channels);
    mix(qkv, mixed, executor);
    projection_.add_to(x, scale, mixed, x, executor);
  }

  template <class Visitor>
  void visit_state(Visitor& visit, EigenDevice<Scalar> device) {
    norm_.visit_state(visit);
    qkv_.visit_state(visit, device);
    projection_.visit_state(visit, device);
  }

 private:
  static constexpr std::int64_t task_rows = 32;

  /// Each pixel's values, weighted by the softmax of its query with all keys; the three are interleaved in qkv.
  static void mix(const ImageView<Scalar>& qkv, const ImageView<Scalar>& mixed, ExecutorReference executor) {
    using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const std::int64_t pixels = pixel_count(mixed.size), channels = mixed.channels;
    const auto part = [&](std::int64_t which, std::int64_t first, std::int64_t rows) {
      using Stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
      return Eigen::Map<const Matrix, 0, Stride>(qkv.data + first * qkv.channels + which, rows, channels,
                                                 Stride(qkv.channels, 3));
    };
    const Matrix keys = part(1, 0, pixels) * static_cast<Scalar>(1 / std::sqrt(static_cast<double>(channels)));
    const Matrix values = part(2, 0, pixels);
    executor.parallel_for_blocks(pixels, task_rows, [&](std::int64_t first, std::int64_t last) {
      const Matrix queries = part(0, first, last - first);
      Matrix weights = Matrix::Zero(last - first, pixels);
      layers::add_product(weights.data(), pixels, queries, keys.transpose());
      for (std::int64_t row = 0; row < weights.rows(); ++row) {
        auto logits = weights.row(row).array();
        logits = (logits - logits.maxCoeff()).exp();
        logits /= logits.sum();
      }
      Matrix::Map(mixed.data + first * channels, last - first, channels).setZero();
      layers::add_product(mixed.data + first * channels, channels, weights, values);
    });
  }

  GroupNorm<Scalar> norm_;
  Convolution<Scalar> qkv_, projection_;
};

}  // namespace patchdiff::inference
