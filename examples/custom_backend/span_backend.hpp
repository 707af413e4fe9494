// SPDX-License-Identifier: Apache-2.0
// A backend of a host: all that patchdiff asks of one, over memory that the host manages, written to be read and not to
// be fast. docs/backend_guide.md walks through it, and the library's tests take it as their reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/primitive_checks.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>

namespace host {

namespace pd = patchdiff;

/// The host's memory, which outlives its tensors.
struct Memory {
  std::pmr::memory_resource* resource = std::pmr::get_default_resource();

  friend bool operator==(const Memory&, const Memory&) = default;
};

/// A view of the host's numbers, the last dimension fastest; a copy shares them.
template <class Scalar>
struct SpanTensor {
  pd::Shape shape{0};
  std::span<Scalar> values{};
  std::shared_ptr<void> owner{};  ///< keeps the numbers alive; null where the host does
  Memory memory{};
};

/// The backend, stateless: a name for a set of functions.
template <class Scalar>
struct SpanBackend {
  using Tensor = SpanTensor<Scalar>;
  using Device = Memory;
  using Wide = SpanBackend<double>;

  /// Not asked for by patchdiff: a tensor over a buffer that the host owns, without a copy.
  static Tensor over(std::span<Scalar> buffer, const pd::Shape& shape, Device device = {}) {
    checks.from_host(buffer.size(), shape);
    return {shape, buffer, nullptr, device};
  }

  // TransfersTensors

  static pd::Shape shape(const Tensor& x) { return x.shape; }
  static Device device(const Tensor& x) { return x.memory; }
  static std::string device_name(Device) { return sizeof(Scalar) == 8 ? "host double" : "host float"; }

  static Tensor from_host(std::span<const float> values, const pd::Shape& shape, Device device) {
    return converted(values, shape, device);
  }
  static Tensor from_host(std::span<const double> values, const pd::Shape& shape, Device device) {
    return converted(values, shape, device);
  }
  static Tensor zeros(const pd::Shape& shape, Device device) {
    const auto numbers = std::make_shared<std::pmr::vector<Scalar>>(count(shape), device.resource);
    return {shape, *numbers, numbers, device};
  }
  static std::vector<double> to_host(const Tensor& x) { return {x.values.begin(), x.values.end()}; }

  // ConvertsPrecision

  static SpanTensor<double> widen(const Tensor& x) {
    return Wide::from_host(std::span<const Scalar>(x.values), x.shape, x.memory);
  }
  static Tensor narrow(const SpanTensor<double>& x, Device device) {
    return from_host(std::span<const double>(x.values), x.shape, device);
  }
  static Device wide_device(Device device) { return device; }

  // CutsTensors

  static Tensor crop(const Tensor& x, const pd::Places& places) {
    checks.crop(x.shape, places);
    const pd::ImageSize image{x.shape[2], x.shape[3]}, patch = places.patch;
    Tensor patches = zeros({x.shape[0], x.shape[1], patch.height, patch.width}, x.memory);
    auto out = patches.values.begin();
    for (std::int64_t plane = 0; plane < x.shape[0] * x.shape[1]; ++plane) {
      const pd::Place& place = places.at[size(plane / x.shape[1])];
      for (std::int64_t row = place.top; row < place.top + patch.height; ++row) {
        for (std::int64_t column = place.left; column < place.left + patch.width; ++column, ++out) {
          const bool inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
          if (inside) *out = x.values[size((plane * image.height + row) * image.width + column)];
        }
      }
    }
    return patches;
  }

  static void accumulate_patches(Tensor& images, const Tensor& patches, const pd::Places& places) {
    checks.accumulate_patches(images.shape, patches.shape, places);
    const pd::ImageSize image{images.shape[2], images.shape[3]}, patch = places.patch;
    auto from = patches.values.begin();
    for (std::int64_t plane = 0; plane < images.shape[0] * images.shape[1]; ++plane) {
      const pd::Place& place = places.at[size(plane / images.shape[1])];
      for (std::int64_t row = place.top; row < place.top + patch.height; ++row) {
        for (std::int64_t column = place.left; column < place.left + patch.width; ++column, ++from) {
          const bool inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
          if (inside) images.values[size((plane * image.height + row) * image.width + column)] += *from;
        }
      }
    }
  }

  static Tensor coordinate_grid(const pd::Places& places, pd::ImageSize image, Device device) {
    Tensor grid = zeros({places.count(), 2, places.patch.height, places.patch.width}, device);
    auto out = grid.values.begin();
    for (const pd::Place& place : places.at) {
      for (const bool is_x : {true, false}) {
        for (std::int64_t r = 0; r < places.patch.height; ++r) {
          for (std::int64_t c = 0; c < places.patch.width; ++c) {
            const auto row = static_cast<double>(r), column = static_cast<double>(c);
            *out++ = static_cast<Scalar>(is_x ? pd::normalised_position(place.to_image.column(row, column), image.width)
                                              : pd::normalised_position(place.to_image.row(row, column), image.height));
          }
        }
      }
    }
    return grid;
  }

  static Tensor concat(std::span<const Tensor> parts, std::int64_t dimension) {
    if (parts.empty()) checks.refuse("concat", "at least one tensor", {});
    const Tensor& head = parts.front();
    for (const Tensor& part : parts) checks.concat(head.shape, part.shape, dimension);
    pd::Shape shape = head.shape;
    shape[size(dimension)] = 0;
    for (const Tensor& part : parts) shape[size(dimension)] += part.shape[size(dimension)];
    Tensor whole = zeros(shape, head.memory);
    const std::size_t rows = count({shape.begin(), shape.begin() + dimension});
    auto out = whole.values.begin();
    for (std::size_t row = 0; row < rows; ++row) {
      for (const Tensor& part : parts) {
        const std::size_t length = part.values.size() / rows;
        out = std::copy_n(part.values.begin() + index(row * length), length, out);
      }
    }
    return whole;
  }

  static Tensor slice(const Tensor& x, std::int64_t dimension, std::int64_t first, std::int64_t length) {
    checks.slice(x.shape, dimension, first, length);
    pd::Shape shape = x.shape;
    shape[size(dimension)] = length;
    Tensor part = zeros(shape, x.memory);
    const std::size_t rows = count({shape.begin(), shape.begin() + dimension});
    const auto inner = pd::element_count({shape.begin() + dimension + 1, shape.end()});
    auto out = part.values.begin();
    for (std::size_t row = 0; row < rows; ++row) {
      const std::int64_t begin = (index(row) * x.shape[size(dimension)] + first) * inner;
      out = std::copy_n(x.values.begin() + begin, length * inner, out);
    }
    return part;
  }

  // ComputesFourierFeatures

  static Tensor fourier_features(const Tensor& x, std::span<const double> frequencies) {
    checks.rank("fourier_features", 4, x.shape);
    std::vector<Tensor> features{slice(x, 1, 0, 0)};
    for (const double frequency : frequencies) {
      for (const bool sine : {true, false}) {
        features.push_back(mapped(x, [&](std::size_t i) {
          const double angle = frequency * static_cast<double>(x.values[i]);
          return static_cast<Scalar>(sine ? std::sin(angle) : std::cos(angle));
        }));
      }
    }
    return concat(features, 1);
  }

  // ComputesPerSample

  static Tensor scale(std::span<const double> a, const Tensor& x) {
    checks.coefficients("scale", a, x.shape);
    return mapped(x, [&](std::size_t i) { return static_cast<Scalar>(a[i / row_length(x)]) * x.values[i]; });
  }

  static Tensor combine(std::span<const double> a, const Tensor& x, std::span<const double> b, const Tensor& y) {
    checks.same("combine", x.shape, y.shape);
    Tensor sum = scale(a, x);
    accumulate(sum, scale(b, y));
    return sum;
  }

  static Tensor multiply(const Tensor& x, const Tensor& y) {
    checks.multiply(x.shape, y.shape);
    const std::size_t x_row = row_length(x), y_row = row_length(y);  // differ where y has one channel for all
    return mapped(x, [&](std::size_t i) { return x.values[i] * y.values[i / x_row * y_row + i % y_row]; });
  }

  static Tensor sum_per_sample(const Tensor& x) {
    checks.sum_per_sample(x.shape);
    std::vector<double> sums(size(x.shape[0]));
    for (std::size_t i = 0; i < x.values.size(); ++i) sums[i / row_length(x)] += static_cast<double>(x.values[i]);
    return from_host(std::span<const double>(sums), {x.shape[0]}, x.memory);
  }

  // WritesTensors

  static Tensor clone(const Tensor& x) {
    return mapped(x, [&](std::size_t i) { return x.values[i]; });
  }
  static void assign(Tensor& inout, const Tensor& x) {
    checks.same("assign", inout.shape, x.shape);
    std::copy(x.values.begin(), x.values.end(), inout.values.begin());
  }
  static void set_zero(Tensor& inout) { std::fill(inout.values.begin(), inout.values.end(), Scalar{0}); }
  static void accumulate(Tensor& inout, const Tensor& x) {
    checks.same("accumulate", inout.shape, x.shape);
    for (std::size_t i = 0; i < x.values.size(); ++i) inout.values[i] += x.values[i];
  }
  static void blend(Tensor& inout, const Tensor& x, double weight) {
    checks.same("blend", inout.shape, x.shape);
    const auto w = static_cast<Scalar>(weight);
    for (std::size_t i = 0; i < x.values.size(); ++i) inout.values[i] += w * (x.values[i] - inout.values[i]);
  }

  // TrainsUnderFlag

  static Tensor finite_flag(std::span<const Tensor> all) {
    bool finite = true;
    for (const Tensor& x : all) {
      for (const Scalar value : x.values) finite = finite && std::isfinite(value);
    }
    const std::vector<double> flag{finite ? 1.0 : 0.0};
    return from_host(std::span<const double>(flag), {}, all.empty() ? Memory{} : all.front().memory);
  }
  static bool read_flag(const Tensor& flag) { return number(flag, "read_flag") != 0; }

  static void adam_update(Tensor& value, Tensor& mean, Tensor& square, const Tensor& gradient, const Tensor& steps,
                          const Tensor& flag, const pd::AdamSettings& settings) {
    for (const Tensor& x : {mean, square, gradient}) checks.same("adam_update", value.shape, x.shape);
    const double step = number(steps, "adam_update");
    if (number(flag, "adam_update") == 0) return;
    const double rate = settings.learning_rate / (1 - std::pow(settings.beta1, step));
    const double square_correction = 1 - std::pow(settings.beta2, step);
    for (std::size_t i = 0; i < value.values.size(); ++i) {
      const double g = gradient.values[i];
      const double m = settings.beta1 * mean.values[i] + (1 - settings.beta1) * g;
      const double v = settings.beta2 * square.values[i] + (1 - settings.beta2) * g * g;
      mean.values[i] = static_cast<Scalar>(m);
      square.values[i] = static_cast<Scalar>(v);
      value.values[i] -= static_cast<Scalar>(rate * m / (std::sqrt(v / square_correction) + settings.epsilon));
    }
  }

  // ClipsNorms

  static Tensor norm(std::span<const Tensor> all) {
    double squares = 0;
    for (const Tensor& x : all) {
      for (const double value : x.values) squares += value * value;
    }
    const std::vector<double> root{std::sqrt(squares)};
    return from_host(std::span<const double>(root), {}, all.empty() ? Memory{} : all.front().memory);
  }
  static void clip_norm(Tensor& inout, const Tensor& norm, double most) {
    const auto factor = static_cast<Scalar>(most / std::max(number(norm, "clip_norm"), most));
    for (Scalar& value : inout.values) value *= factor;
  }

 private:
  static constexpr pd::PrimitiveChecks checks{"SpanBackend"};

  static std::size_t size(std::int64_t number) { return static_cast<std::size_t>(number); }
  static std::ptrdiff_t index(std::size_t number) { return static_cast<std::ptrdiff_t>(number); }
  static std::size_t count(const pd::Shape& shape) { return size(pd::element_count(shape)); }

  /// The numbers of one sample.
  static std::size_t row_length(const Tensor& x) {
    return x.values.size() / (x.shape.empty() ? 1 : std::max<std::size_t>(1, size(x.shape[0])));
  }

  /// A new tensor of x's shape with f(i) at number i.
  template <class F>
  static Tensor mapped(const Tensor& x, const F& f) {
    Tensor out = zeros(x.shape, x.memory);
    for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] = f(i);
    return out;
  }

  template <class Number>
  static Tensor converted(std::span<const Number> values, const pd::Shape& shape, Device device) {
    checks.from_host(values.size(), shape);
    Tensor x = zeros(shape, device);
    std::transform(values.begin(), values.end(), x.values.begin(), [](Number v) { return static_cast<Scalar>(v); });
    return x;
  }

  static double number(const Tensor& x, std::string_view primitive) {
    checks.rank(primitive, 0, x.shape);
    return static_cast<double>(x.values.front());
  }
};

}  // namespace host
