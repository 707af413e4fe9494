// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/eigen/inference/buffer.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/silu.hpp>

namespace patchdiff::inference {

/// x with mean 0 and variance 1 over each group of channels, times a weight plus a bias by channel; SiLU behind.
template <class Scalar>
class GroupNorm {
 public:
  /// Memory of a call.
  struct Scratch {
    Buffer<Scalar> moments{}, scale{}, shift{};
  };

  /// Errors: ConfigError for channels that do not divide into groups.
  GroupNorm(std::string name, std::int64_t channels, EigenDevice<Scalar> device)
      : name_(std::move(name)),
        groups_(std::min<std::int64_t>(32, channels / 4)),
        weight_({channels}, device),
        bias_({channels}, device) {
    if (channels % groups_ != 0) {
      refuse<ConfigError>(name_, "channels", str("a multiple of ", groups_), str(channels));
    }
    weight_.array().setOnes();
    bias_.array().setZero();
  }

  void operator()(const ImageView<Scalar>& x, const ImageView<Scalar>& out, Scratch& scratch,
                  ExecutorReference executor) const {
    apply<false>(x, out, scratch, executor);
  }

  void with_silu(const ImageView<Scalar>& x, const ImageView<Scalar>& out, Scratch& scratch,
                 ExecutorReference executor) const {
    apply<true>(x, out, scratch, executor);
  }

  template <class Visitor>
  void visit_state(Visitor& visit) {
    visit(std::string_view(name_ + ".weight"), weight_);
    visit(std::string_view(name_ + ".bias"), bias_);
  }

 private:
  using Map = Eigen::Map<Values<Scalar>>;
  using ConstMap = Eigen::Map<const Values<Scalar>>;
  static constexpr double epsilon = 1e-6;

  template <bool Silu>
  void apply(const ImageView<Scalar>& x, const ImageView<Scalar>& out, Scratch& scratch,
             ExecutorReference executor) const {
    const std::int64_t channels = x.channels, rows = rows_of_task(x);
    const std::int64_t parts = (x.size.height + rows - 1) / rows;
    Scalar* moments = scratch.moments.values(2 * channels * parts);
    executor.parallel_for_blocks(x.size.height, rows, [&](std::int64_t first, std::int64_t last) {
      add_moments(x, first, last, moments + 2 * channels * (first / rows));
    });
    Map scale(scratch.scale.values(channels), channels), shift(scratch.shift.values(channels), channels);
    merge(x, rows, moments, scale, shift);
    executor.parallel_for_blocks(x.size.height, rows, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t column = 0; column < x.size.width; ++column) {
          const ConstMap from(x.pixel(y, column), channels);
          Map to(out.pixel(y, column), channels);
          if constexpr (Silu) {
            to = from * scale + shift;
            to = layers::silu(to);
          } else {
            to = from * scale + shift;
          }
        }
      }
    });
  }

  /// Means by channel, then sums of squares about them, of some rows: both are summed while the rows are in the cache.
  static void add_moments(const ImageView<Scalar>& x, std::int64_t first, std::int64_t last, Scalar* moments) {
    const std::int64_t channels = x.channels;
    Map mean(moments, channels), square(moments + channels, channels);
    const auto for_pixels = [&](const auto& f) {
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t column = 0; column < x.size.width; ++column) f(ConstMap(x.pixel(y, column), channels));
      }
    };
    mean.setZero();
    for_pixels([&](const ConstMap& pixel) { mean += pixel; });
    mean /= static_cast<Scalar>((last - first) * x.size.width);
    square.setZero();
    for_pixels([&](const ConstMap& pixel) { square += (pixel - mean).square(); });
  }

  /// Factor and summand of each channel, from the moments of the parts in their order.
  void merge(const ImageView<Scalar>& x, std::int64_t rows, const Scalar* moments, Map& scale, Map& shift) const {
    const std::int64_t channels = x.channels, size = channels / groups_;
    const auto count = static_cast<double>(pixel_count(x.size) * size);
    const auto for_parts = [&](std::int64_t group, const auto& f) {
      const Scalar* part = moments;
      for (std::int64_t first = 0; first < x.size.height; first += rows, part += 2 * channels) {
        const auto pixels = static_cast<double>(std::min(rows, x.size.height - first) * x.size.width);
        for (std::int64_t c = group * size; c < (group + 1) * size; ++c) {
          f(pixels, static_cast<double>(part[c]), static_cast<double>(part[channels + c]));
        }
      }
    };
    for (std::int64_t group = 0; group < groups_; ++group) {
      double mean = 0, square = 0;
      for_parts(group, [&](double pixels, double part_mean, double) { mean += pixels / count * part_mean; });
      for_parts(group, [&](double pixels, double part_mean, double part_square) {
        square += part_square + pixels * (part_mean - mean) * (part_mean - mean);
      });
      const double inverse = 1 / std::sqrt(square / count + epsilon);
      for (std::int64_t c = group * size; c < (group + 1) * size; ++c) {
        const double factor = inverse * static_cast<double>(weight_.data()[c]);
        scale[c] = static_cast<Scalar>(factor);
        shift[c] = static_cast<Scalar>(static_cast<double>(bias_.data()[c]) - mean * factor);
      }
    }
  }

  std::string name_;
  std::int64_t groups_;
  EigenTensor<Scalar> weight_, bias_;
};

}  // namespace patchdiff::inference
