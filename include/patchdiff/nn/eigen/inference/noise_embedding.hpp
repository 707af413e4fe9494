// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <string_view>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/inference/linear.hpp>
#include <patchdiff/nn/eigen/silu.hpp>
#include <patchdiff/nn/song_unet_options.hpp>

namespace patchdiff::inference {

/// Tells a sample's noise level and labels to the blocks of SongUNet.
///
/// Sines, then cosines, of c_noise at fixed frequencies (1/10000)^(i / last) or at stored ones; plus labels; through
/// two layers with SiLU.
template <class Scalar>
class NoiseEmbedding {
 public:
  NoiseEmbedding(const SongUNetOptions& options, EigenDevice<Scalar> device)
      : layer0_("map_layer0", channels(options), width(options), device),
        layer1_("map_layer1", width(options), width(options), device),
        label_scale_(static_cast<Scalar>(std::sqrt(static_cast<double>(options.label_dim)))) {
    const std::int64_t half = channels(options) / 2;
    if (options.embedding_type == EmbeddingType::fourier) {
      fourier_.emplace(Shape{half}, device).array().setZero();
    } else {
      const auto last = static_cast<double>(std::max<std::int64_t>(1, half - 1));
      frequencies_.resize(half);
      for (std::int64_t i = 0; i < half; ++i) frequencies_[i] = std::pow(1.0 / 10000, static_cast<double>(i) / last);
    }
    if (options.label_dim > 0) label_.emplace("map_label", options.label_dim, channels(options), device);
    if (options.augment_dim > 0) {
      augment_.emplace("map_augment", options.augment_dim, channels(options), device, Linear<Scalar>::Bias::none);
    }
  }

  /// The length of the result.
  static std::int64_t width(const SongUNetOptions& options) noexcept { return 4 * options.model_channels; }

  /// `labels` and `augment_labels`: the sample's rows, or null for zeros.
  Values<Scalar> operator()(double c_noise, const Scalar* labels, const Scalar* augment_labels) const {
    Values<Scalar> embedding = sines(c_noise);
    if (label_ && labels != nullptr) {
      embedding += (*label_)(row(labels, *label_) * label_scale_);
    } else if (label_) {
      embedding += label_->bias();
    }
    if (augment_ && augment_labels != nullptr) embedding += (*augment_)(row(augment_labels, *augment_));
    return layers::silu(layer1_(layers::silu(layer0_(embedding)).eval())).eval();
  }

  template <class Visitor>
  void visit_state(Visitor& visit) {
    if (fourier_) visit(std::string_view("map_noise.freqs"), *fourier_);
    if (label_) label_->visit_state(visit);
    if (augment_) augment_->visit_state(visit);
    layer0_.visit_state(visit);
    layer1_.visit_state(visit);
  }

 private:
  static std::int64_t channels(const SongUNetOptions& options) noexcept {
    return options.model_channels * options.channel_mult_noise;
  }

  static Values<Scalar> row(const Scalar* values, const Linear<Scalar>& layer) {
    return Values<Scalar>::Map(values, layer.in());
  }

  /// Of stored frequencies, in their own scalar type, as they were trained.
  Values<Scalar> sines(double c_noise) const {
    if (fourier_) {
      const Values<Scalar> angles =
          static_cast<Scalar>(c_noise) * (fourier_->array() * static_cast<Scalar>(2 * std::numbers::pi));
      Values<Scalar> values(2 * angles.size());
      values << angles.sin(), angles.cos();
      return values;
    }
    const Values<double> angles = c_noise * frequencies_;
    Values<Scalar> values(2 * angles.size());
    values << angles.sin().template cast<Scalar>(), angles.cos().template cast<Scalar>();
    return values;
  }

  Values<double> frequencies_{};
  std::optional<EigenTensor<Scalar>> fourier_{};
  Linear<Scalar> layer0_, layer1_;
  std::optional<Linear<Scalar>> label_{}, augment_{};
  Scalar label_scale_;
};

}  // namespace patchdiff::inference
