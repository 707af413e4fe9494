// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/nn/eigen/inference/attention.hpp>
#include <patchdiff/nn/eigen/inference/buffer.hpp>
#include <patchdiff/nn/eigen/inference/convolution.hpp>
#include <patchdiff/nn/eigen/inference/group_norm.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/inference/linear.hpp>
#include <patchdiff/nn/eigen/inference/resample.hpp>
#include <patchdiff/nn/unet_plan.hpp>

namespace patchdiff::inference {

/// A residual block of SongUNet: two convolutions under group norm, told the noise level, with optional self-attention.
template <class Scalar>
class ResidualBlock {
 public:
  /// Memory of a call.
  struct Scratch {
    Buffer<Scalar> normal{}, whole{}, hidden{}, bias{}, skipped{};
    typename GroupNorm<Scalar>::Scratch norm{};
    typename Attention<Scalar>::Scratch attention{};
  };

  ResidualBlock(const unet::BlockPlan& plan, std::int64_t embedding_channels, EigenDevice<Scalar> device)
      : name_(plan.name),
        out_(plan.out),
        resample_(plan.resample),
        norm0_(plan.name + ".norm0", plan.in, device),
        conv0_(plan.name + ".conv0", plan.in, plan.out, 3),
        affine_(plan.name + ".affine", embedding_channels, plan.out, device),
        norm1_(plan.name + ".norm1", plan.out, device),
        conv1_(plan.name + ".conv1", plan.out, plan.out, 3) {
    if (plan.in != plan.out || resamples()) skip_.emplace(plan.name + ".skip", plan.in, plan.out, 1);
    if (plan.attention) attention_.emplace(plan.name, plan.out, device);
  }

  std::int64_t out_channels() const noexcept { return out_; }

  /// The size of the output for an input of that size.
  ImageSize out_size(ImageSize in) const noexcept {
    if (resample_ == unet::Resample::down) return {in.height / 2, in.width / 2};
    if (resample_ == unet::Resample::up) return {in.height * 2, in.width * 2};
    return in;
  }

  /// Fills `out`, which must not be x.
  void operator()(const ImageView<Scalar>& x, const Values<Scalar>& embedding, const ImageView<Scalar>& out,
                  Scratch& scratch, ExecutorReference executor) const {
    const auto normal = scratch.normal.bordered(out.size, x.channels);
    if (resamples()) {
      const auto whole = scratch.whole.image(x.size, x.channels);
      norm0_.with_silu(x, whole, scratch.norm, executor);
      resample(whole, normal, executor);
    } else {
      norm0_.with_silu(x, normal, scratch.norm, executor);
    }
    const auto hidden = scratch.hidden.image(out.size, out_);
    conv0_.with_bias(told(embedding, scratch), normal, hidden, executor);
    const auto again = scratch.normal.bordered(out.size, out_);
    norm1_.with_silu(hidden, again, scratch.norm, executor);
    conv1_.add_to(skip_ ? skipped(x, out, scratch, executor) : x, skip_scale, again, out, executor);
    if (attention_) (*attention_)(out, skip_scale, scratch.attention, executor);
  }

  template <class Visitor>
  void visit_state(Visitor& visit, EigenDevice<Scalar> device) {
    norm0_.visit_state(visit);
    conv0_.visit_state(visit, device);
    if (resamples()) show_filter(visit, ".conv0", device);
    affine_.visit_state(visit);
    norm1_.visit_state(visit);
    conv1_.visit_state(visit, device);
    if (skip_) skip_->visit_state(visit, device);
    if (resamples()) show_filter(visit, ".skip", device);
    if (attention_) attention_->visit_state(visit, device);
  }

 private:
  static constexpr auto skip_scale = static_cast<Scalar>(0.70710678118654752440);  // 1 / sqrt(2)

  bool resamples() const noexcept { return resample_ != unet::Resample::none; }

  void resample(const ImageView<Scalar>& x, const ImageView<Scalar>& out, ExecutorReference executor) const {
    if (resample_ == unet::Resample::down) {
      halve(x, out, executor);
    } else {
      double_sides(x, out, executor);
    }
  }

  /// The first convolution's bias, moved by what the embedding tells.
  const Scalar* told(const Values<Scalar>& embedding, Scratch& scratch) const {
    Values<Scalar>::Map(scratch.bias.values(conv0_.padded_out()), conv0_.padded_out()) = conv0_.bias();
    Values<Scalar>::Map(scratch.bias.values(out_), out_) += affine_(embedding);
    return scratch.bias.values(conv0_.padded_out());
  }

  /// What the second convolution is added to, where that is not x: written to `out`.
  const ImageView<Scalar>& skipped(const ImageView<Scalar>& x, const ImageView<Scalar>& out, Scratch& scratch,
                                   ExecutorReference executor) const {
    if (!resamples()) {
      (*skip_)(x, out, executor);
    } else {
      const auto resampled = scratch.skipped.image(out.size, x.channels);
      resample(x, resampled, executor);
      (*skip_)(resampled, out, executor);
    }
    return out;
  }

  /// The filter [1, 1] stands in files as four values; nothing else is computed here, so what a file says is not kept.
  template <class Visitor>
  void show_filter(Visitor& visit, std::string_view layer, EigenDevice<Scalar> device) const {
    EigenTensor<Scalar> filter({1, 1, 2, 2}, device);
    filter.array().setConstant(Scalar(0.25));
    visit(std::string_view(name_ + std::string(layer) + ".resample_filter"), filter);
  }

  std::string name_;
  std::int64_t out_;
  unet::Resample resample_;
  GroupNorm<Scalar> norm0_;
  Convolution<Scalar> conv0_;
  Linear<Scalar> affine_;
  GroupNorm<Scalar> norm1_;
  Convolution<Scalar> conv1_;
  std::optional<Convolution<Scalar>> skip_{};
  std::optional<Attention<Scalar>> attention_{};
};

}  // namespace patchdiff::inference
