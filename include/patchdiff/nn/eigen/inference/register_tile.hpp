// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <Eigen/Core>

namespace patchdiff::inference {

/// Values of a packet, the processor's unit of arithmetic.
template <class Scalar>
inline constexpr int packet_size = Eigen::internal::packet_traits<Scalar>::size;

/// What is added to the sums of a convolution and becomes its output: (sum + bias + residual) scale, or sum + bias.
template <class Scalar>
struct Epilogue {
  const Scalar* bias = nullptr;      ///< of the output channels, in whole packets
  const Scalar* residual = nullptr;  ///< at the output's first pixel; null: none, and no scale
  Scalar scale = 1;
};

/// Sums for some neighbouring pixels and some packets of output channels, all in registers.
///
/// The inner loop reads each weight once for all pixels and each input once for all channels. Each output has a sum of
/// its own, which is added up in the order of the inputs: how an image is divided into tiles changes no bit.
template <class Scalar, int Pixels, int Packets>
class RegisterTile {
 public:
  static constexpr int width = Packets * packet_size<Scalar>;  ///< output channels

  EIGEN_ALWAYS_INLINE RegisterTile() { clear(all); }

  /// Adds `count` inputs of each pixel, `stride` values apart, times weights [count, width].
  EIGEN_ALWAYS_INLINE void add(const Scalar* x, std::int64_t stride, const Scalar* weights, std::int64_t count) {
    for (std::int64_t k = 0; k < count; ++k, ++x, weights += width) add_one(x, stride, weights, all);
  }

  /// Writes the outputs; the first `channels` of the width exist.
  EIGEN_ALWAYS_INLINE void store(Scalar* out, std::int64_t stride, std::int64_t channels,
                                 const Epilogue<Scalar>& epilogue) {
    finish(stride, channels, epilogue, all);
    if (channels == width) {
      write(out, stride, all);
      return;
    }
    alignas(64) Scalar whole[Pixels * width];
    write(whole, width, all);
    for (std::int64_t pixel = 0; pixel < Pixels; ++pixel) {
      for (std::int64_t c = 0; c < channels; ++c) {
        Scalar value = whole[pixel * width + c];
        if (epilogue.residual != nullptr) value = (value + epilogue.residual[pixel * stride + c]) * epilogue.scale;
        out[pixel * stride + c] = value;
      }
    }
  }

 private:
  using Packet = typename Eigen::internal::packet_traits<Scalar>::type;
  using All = std::make_index_sequence<std::size_t{Pixels} * Packets>;
  static constexpr All all{};

  static constexpr std::int64_t pixel(std::size_t sum) { return static_cast<std::int64_t>(sum) / Packets; }
  static constexpr std::int64_t channel(std::size_t sum) {
    return static_cast<std::int64_t>(sum) % Packets * packet_size<Scalar>;
  }

  template <std::size_t... I>
  EIGEN_ALWAYS_INLINE void clear(std::index_sequence<I...>) {
    ((sums_[I] = Eigen::internal::pset1<Packet>(Scalar{0})), ...);
  }

  template <std::size_t... I>
  EIGEN_ALWAYS_INLINE void add_one(const Scalar* x, std::int64_t stride, const Scalar* weights,
                                   std::index_sequence<I...>) {
    using namespace Eigen::internal;
    ((sums_[I] = pmadd(pload<Packet>(weights + channel(I)), pset1<Packet>(x[pixel(I) * stride]), sums_[I])), ...);
  }

  /// Bias, and where all channels exist the residual.
  template <std::size_t... I>
  EIGEN_ALWAYS_INLINE void finish(std::int64_t stride, std::int64_t channels, const Epilogue<Scalar>& epilogue,
                                  std::index_sequence<I...>) {
    using namespace Eigen::internal;
    ((sums_[I] = padd(sums_[I], pload<Packet>(epilogue.bias + channel(I)))), ...);
    if (epilogue.residual == nullptr || channels != width) return;
    const Packet scale = pset1<Packet>(epilogue.scale);
    ((sums_[I] = pmul(padd(sums_[I], ploadu<Packet>(epilogue.residual + pixel(I) * stride + channel(I))), scale)), ...);
  }

  template <std::size_t... I>
  EIGEN_ALWAYS_INLINE void write(Scalar* out, std::int64_t stride, std::index_sequence<I...>) const {
    (Eigen::internal::pstoreu(out + pixel(I) * stride + channel(I), sums_[I]), ...);
  }

  Packet sums_[std::size_t{Pixels} * Packets];
};

}  // namespace patchdiff::inference
