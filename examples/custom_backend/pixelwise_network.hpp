// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

namespace host {

namespace pd = patchdiff;

struct PixelwiseOptions {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 1;
  std::int64_t label_dim = 0;
  std::int64_t size_divisor = 1;
  std::int64_t hidden = 4;
};

/// A network of two layers on each pixel alone, with a hand-written backward; computes on the host, for any backend.
///
/// output = B [tanh(A features), 1] with features = [input channels, c_noise, labels, 1].
template <pd::Backend B>
class PixelwiseNetwork {
 public:
  using Backend = B;
  using Tensor = typename B::Tensor;

  struct Record {
    Tensor output;
    pd::Shape input_shape{};
    std::vector<double> features{};  ///< of pixel after pixel
    std::vector<double> hidden{};    ///< likewise
    bool input_gradient = false;
    bool parameter_gradients = true;
  };

  explicit PixelwiseNetwork(PixelwiseOptions options, pd::RandomKey key = {}, typename B::Device device = {})
      : options_(options),
        features_(options.in_channels + 1 + options.label_dim + 1),
        inner_{drawn(key, 0, {options.hidden, features_}, device), B::zeros({options.hidden, features_}, device)},
        outer_{drawn(key, 1, {options.out_channels, options.hidden + 1}, device),
               B::zeros({options.out_channels, options.hidden + 1}, device)} {}

  PixelwiseNetwork(PixelwiseNetwork&&) noexcept = default;
  PixelwiseNetwork& operator=(PixelwiseNetwork&&) noexcept = default;

  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const pd::Conditioning<B>& conditioning,
                    const pd::Pass& pass) const {
    return run(input, c_noise, conditioning, pass).output;
  }

  Record record(const Tensor& input, std::span<const double> c_noise, const pd::Conditioning<B>& conditioning,
                const pd::Pass& pass) {
    last_pass_ = pass;
    return run(input, c_noise, conditioning, pass);
  }

  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) {
    const Matrix inner = read(inner_.value), outer = read(outer_.value);
    Matrix inner_gradient{std::vector<double>(inner.values.size()), inner.columns};
    Matrix outer_gradient{std::vector<double>(outer.values.size()), outer.columns};
    const std::vector<double> slopes = B::to_host(cotangent);
    std::vector<double> input_gradient(static_cast<std::size_t>(pd::element_count(record.input_shape)));
    for (const Pixel pixel : pixels(record.input_shape)) {
      const auto features = std::span(record.features).subspan(pixel.index * size(features_), size(features_));
      const auto hidden = std::span(record.hidden).subspan(pixel.index * size(options_.hidden), size(options_.hidden));
      std::vector<double> hidden_slopes(hidden.size());
      for (std::size_t o = 0; o < size(options_.out_channels); ++o) {
        const double slope = slopes[pixel.at(o, options_.out_channels)];
        for (std::size_t h = 0; h < hidden.size(); ++h) {
          outer_gradient.at(o, h) += slope * hidden[h];
          hidden_slopes[h] += slope * outer.at(o, h);
        }
        outer_gradient.at(o, hidden.size()) += slope;
      }
      for (std::size_t h = 0; h < hidden.size(); ++h) {
        const double slope = hidden_slopes[h] * (1 - hidden[h] * hidden[h]);
        for (std::size_t f = 0; f < features.size(); ++f) inner_gradient.at(h, f) += slope * features[f];
        for (std::size_t i = 0; i < size(options_.in_channels); ++i) {
          input_gradient[pixel.at(i, options_.in_channels)] += slope * inner.at(h, i);
        }
      }
    }
    if (record.parameter_gradients) {
      add(inner_, inner_gradient);
      add(outer_, outer_gradient);
    }
    if (!record.input_gradient) return std::nullopt;
    return made(input_gradient, record.input_shape);
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    visit(std::string_view("inner"), inner_.value, inner_.gradient);
    visit(std::string_view("outer"), outer_.value, outer_.gradient);
  }

  template <class Visitor>
  void visit_state(Visitor&& visit) {
    visit(std::string_view("inner"), inner_.value);
    visit(std::string_view("outer"), outer_.value);
  }

  PixelwiseNetwork clone() const {
    PixelwiseNetwork copy(options_, {}, device());
    copy.inner_ = {B::clone(inner_.value), B::clone(inner_.gradient)};
    copy.outer_ = {B::clone(outer_.value), B::clone(outer_.gradient)};
    return copy;
  }

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t size_divisor() const noexcept { return options_.size_divisor; }
  typename B::Device device() const { return B::device(inner_.value); }

  /// The pass of the latest call of `record`.
  const pd::Pass& last_pass() const noexcept { return last_pass_; }

 private:
  struct Parameter {
    Tensor value;
    Tensor gradient;
  };
  struct Matrix {
    std::vector<double> values{};
    std::size_t columns = 0;
    double& at(std::size_t row, std::size_t column) { return values[row * columns + column]; }
    double at(std::size_t row, std::size_t column) const { return values[row * columns + column]; }
  };
  struct Pixel {
    std::size_t index = 0;  ///< over all samples
    std::size_t sample = 0;
    std::size_t offset = 0;  ///< within a channel
    std::size_t plane = 0;
    std::size_t at(std::size_t channel, std::int64_t channels) const {
      return (sample * size(channels) + channel) * plane + offset;
    }
  };

  static std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

  static std::vector<Pixel> pixels(const pd::Shape& shape) {
    const std::size_t plane = size(shape[2] * shape[3]);
    std::vector<Pixel> all;
    for (std::size_t index = 0; index < size(shape[0]) * plane; ++index) {
      all.push_back({index, index / plane, index % plane, plane});
    }
    return all;
  }

  static Tensor drawn(pd::RandomKey key, std::uint64_t number, const pd::Shape& shape, typename B::Device device) {
    std::vector<float> values(size(pd::element_count(shape)));
    pd::RandomStream(key, pd::Purpose::initial_weights, 0, number).normals(std::span(values));
    for (float& value : values) value /= 2;
    return B::from_host(std::span<const float>(values), shape, device);
  }

  static Matrix read(const Tensor& x) { return {B::to_host(x), size(B::shape(x)[1])}; }

  Tensor made(const std::vector<double>& values, const pd::Shape& shape) const {
    return B::from_host(std::span<const double>(values), shape, device());
  }

  void add(Parameter& parameter, const Matrix& gradient) {
    B::accumulate(parameter.gradient, made(gradient.values, B::shape(parameter.gradient)));
  }

  Record run(const Tensor& input, std::span<const double> c_noise, const pd::Conditioning<B>& conditioning,
             const pd::Pass& pass) const {
    const Matrix inner = read(inner_.value), outer = read(outer_.value);
    const std::vector<double> x = B::to_host(input);
    const std::vector<double> labels =
        conditioning.class_labels ? B::to_host(*conditioning.class_labels) : std::vector<double>{};
    const pd::Shape shape = B::shape(input);
    const pd::Shape output_shape{shape[0], options_.out_channels, shape[2], shape[3]};
    std::vector<double> all_features, all_hidden, output(size(pd::element_count(output_shape)));
    for (const Pixel pixel : pixels(shape)) {
      std::vector<double> features, hidden;
      for (std::size_t i = 0; i < size(options_.in_channels); ++i) {
        features.push_back(x[pixel.at(i, options_.in_channels)]);
      }
      features.push_back(c_noise[pixel.sample]);
      for (std::size_t label = 0; label < size(options_.label_dim); ++label) {
        features.push_back(labels[pixel.sample * size(options_.label_dim) + label]);
      }
      features.push_back(1);
      for (std::size_t h = 0; h < size(options_.hidden); ++h) {
        double sum = 0;
        for (std::size_t f = 0; f < features.size(); ++f) sum += inner.at(h, f) * features[f];
        hidden.push_back(std::tanh(sum));
      }
      for (std::size_t o = 0; o < size(options_.out_channels); ++o) {
        double sum = outer.at(o, hidden.size());
        for (std::size_t h = 0; h < hidden.size(); ++h) sum += outer.at(o, h) * hidden[h];
        output[pixel.at(o, options_.out_channels)] = sum;
      }
      all_features.insert(all_features.end(), features.begin(), features.end());
      all_hidden.insert(all_hidden.end(), hidden.begin(), hidden.end());
    }
    return {made(output, output_shape), shape, std::move(all_features), std::move(all_hidden), pass.input_gradient,
            pass.parameter_gradients};
  }

  PixelwiseOptions options_;
  std::int64_t features_;
  Parameter inner_;
  Parameter outer_;
  pd::Pass last_pass_{};
};

}  // namespace host
