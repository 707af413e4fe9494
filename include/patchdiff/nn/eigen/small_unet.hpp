// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/check_arguments.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>
#include <patchdiff/nn/eigen/sample_unet.hpp>
#include <patchdiff/nn/eigen/small_unet_options.hpp>
#include <patchdiff/nn/eigen/weights.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/unet_options.hpp>

namespace patchdiff {

/// A small convolutional U-Net on Eigen, with a hand-written gradient.
///
/// Residual blocks of two 3x3 convolutions under group norm, told noise level and class; `layers::SampleUNet` is what
/// happens to one sample. Each sample is a task of the device's executor, and gradients are added in fixed blocks of
/// samples: the bits do not depend on the number of threads, those of the output not even on the rest of the batch.
/// Shapes: [N, in_channels, h, w] to [N, out_channels, h, w], h and w divisible by 2^(levels - 1); labels
/// [N, label_dim], none at all are rows of zeros.
/// Errors: ShapeError for arguments that do not fit; ConfigError for a pass of another precision than float32.
/// Draws: initial weights from the key that the constructor is given.
template <class Scalar>
class SmallUNet {
 public:
  using Backend = EigenBackend<Scalar>;
  using Tensor = EigenTensor<Scalar>;
  using Options = SmallUNetOptions;
  static constexpr std::string_view name = "SmallUNet";

  /// What backward needs.
  struct Record {
    Tensor output{};
    std::vector<typename layers::SampleUNet<Scalar>::Record> samples{};
    bool input_gradient = false;
    bool parameter_gradients = true;
  };

  /// Errors: ConfigError for settings that cannot work.
  explicit SmallUNet(SmallUNetOptions options, RandomKey key = {}, EigenDevice<Scalar> device = {})
      : options_(checked(std::move(options))), weights_(device), net_(weights_, options_, key) {}

  SmallUNet(SmallUNet&&) noexcept = default;
  SmallUNet& operator=(SmallUNet&&) noexcept = default;

  SmallUNet clone() const {
    SmallUNet copy(options_, {}, device());
    copy.weights_.assign(weights_);
    return copy;
  }

  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                    const Pass& pass) const {
    return run(input, c_noise, conditioning, pass, {});
  }

  Record record(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                const Pass& pass) const {
    Record record;
    record.samples.resize(c_noise.size());
    record.input_gradient = pass.input_gradient;
    record.parameter_gradients = pass.parameter_gradients;
    record.output = run(input, c_noise, conditioning, pass, record.samples);
    return record;
  }

  /// Memory: the gradients of all weights for each of at most 16 blocks of samples.
  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) {
    if (cotangent.shape() != record.output.shape()) {
      refuse<ShapeError>(name, "cotangent", to_string(record.output.shape()), to_string(cotangent.shape()));
    }
    const std::int64_t count = cotangent.size(0);
    const std::int64_t block = std::max<std::int64_t>(1, (count + gradient_blocks - 1) / gradient_blocks);
    std::vector<layers::Column<Scalar>> parts(static_cast<std::size_t>((count + block - 1) / block));
    std::optional<Tensor> input_slope;
    if (record.input_gradient) {
      input_slope.emplace(Shape{count, options_.in_channels, cotangent.size(2), cotangent.size(3)}, device());
    }
    device().executor.parallel_for_blocks(count, block, [&](std::int64_t begin, std::int64_t end) {
      layers::Column<Scalar>& gradients = parts[static_cast<std::size_t>(begin / block)];
      gradients.setZero(weights_.size());
      for (std::int64_t n = begin; n < end; ++n) {
        const Map slope = net_.backward(record.samples[static_cast<std::size_t>(n)], sample(cotangent, n), gradients);
        if (input_slope) input_slope->channels(n) = slope.values.matrix();
      }
    });
    if (record.parameter_gradients) weights_.add_gradients(parts);
    return input_slope;
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    weights_.visit_parameters(std::forward<Visitor>(visit));
  }

  template <class Visitor>
  void visit_state(Visitor&& visit) {
    weights_.visit_state(std::forward<Visitor>(visit));
  }

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t size_divisor() const noexcept { return unet::size_divisor(options_); }
  EigenDevice<Scalar> device() const noexcept { return weights_.device(); }
  const SmallUNetOptions& options() const noexcept { return options_; }

 private:
  using Map = layers::FeatureMap<Scalar>;

  static constexpr std::int64_t gradient_blocks = 16;

  static Map sample(const Tensor& x, std::int64_t n) {
    Map map(x.size(1), {x.size(2), x.size(3)});
    map.values = x.channels(n).array();
    return map;
  }

  layers::Column<Scalar> labels(const Conditioning<Backend>& conditioning, std::int64_t n) const {
    if (!conditioning.class_labels) return layers::Column<Scalar>::Zero(options_.label_dim);
    return conditioning.class_labels->samples().row(n).transpose().array();
  }

  Tensor run(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
             const Pass& pass, std::span<typename layers::SampleUNet<Scalar>::Record> records) const {
    unet::check_arguments(name, *this, input, c_noise, conditioning);
    check(pass);
    Tensor output({input.size(0), options_.out_channels, input.size(2), input.size(3)}, device());
    device().executor.parallel_for(input.size(0), [&](std::int64_t n) {
      const auto index = static_cast<std::size_t>(n);
      const Map y =
          net_(sample(input, n), c_noise[index], labels(conditioning, n), records.empty() ? nullptr : &records[index]);
      output.channels(n) = y.values.matrix();
    });
    return output;
  }

  static void check(const Pass& pass) {
    if (pass.precision != Precision::float32) {
      refuse<ConfigError>(name, "precision", "float32, which means the network's own scalar type",
                          name_of(pass.precision));
    }
  }

  static SmallUNetOptions checked(SmallUNetOptions options) {
    unet::check_options(name, options);
    return options;
  }

  SmallUNetOptions options_;
  layers::WeightList<Scalar> weights_;
  layers::SampleUNet<Scalar> net_;
};

static_assert(TrainableNetwork<SmallUNet<float>> && TrainableNetwork<SmallUNet<double>>,
              "SmallUNet does not fit the concept TrainableNetwork");

}  // namespace patchdiff
