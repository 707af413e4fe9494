// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/pixel_map.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

/// A tensor of plain numbers, the last dimension fastest; copies share nothing.
template <class Scalar>
struct VectorTensor {
  Shape shape{};
  std::vector<Scalar> values{};
};

/// The only device there is; its type names the scalar type.
template <class Scalar>
struct VectorDevice {
  friend bool operator==(const VectorDevice&, const VectorDevice&) = default;
};

/// All that the library asks of a backend, on plain vectors: written to be read, not to be fast.
///
/// Every primitive refuses tensors that do not fit each other with a ShapeError.
template <class Scalar>
struct VectorBackend {
  using Tensor = VectorTensor<Scalar>;
  using Device = VectorDevice<Scalar>;
  using Wide = VectorBackend<double>;

  // Transfers

  static Shape shape(const Tensor& x) { return x.shape; }
  static Device device(const Tensor&) { return {}; }
  static std::string device_name(Device) { return sizeof(Scalar) == 8 ? "host double" : "host float"; }

  static Tensor from_host(std::span<const float> values, const Shape& shape, Device) { return made(values, shape); }
  static Tensor from_host(std::span<const double> values, const Shape& shape, Device) { return made(values, shape); }

  static Tensor zeros(const Shape& shape, Device) { return {shape, std::vector<Scalar>(size_of(shape))}; }

  static std::vector<double> to_host(const Tensor& x) { return {x.values.begin(), x.values.end()}; }

  // Precision

  static VectorTensor<double> widen(const Tensor& x) { return {x.shape, to_host(x)}; }

  static Tensor narrow(const VectorTensor<double>& wide, Device) {
    return made(std::span<const double>(wide.values), wide.shape);
  }

  static VectorDevice<double> wide_device(Device) { return {}; }

  // Cutting and joining

  static Tensor crop(const Tensor& x, const Places& places) {
    require(x.shape.size() == 4 && x.shape[0] == places.count(), "crop", "one image [C, H, W] per place", x.shape);
    const ImageSize image{x.shape[2], x.shape[3]};
    Tensor patches{{x.shape[0], x.shape[1], places.patch.height, places.patch.width}, {}};
    for (std::int64_t plane = 0; plane < x.shape[0] * x.shape[1]; ++plane) {
      const Place& place = places.at[static_cast<std::size_t>(plane / x.shape[1])];
      for (std::int64_t row = place.top; row < place.top + places.patch.height; ++row) {
        for (std::int64_t column = place.left; column < place.left + places.patch.width; ++column) {
          const bool inside = row >= 0 && row < image.height && column >= 0 && column < image.width;
          const auto index = static_cast<std::size_t>((plane * image.height + row) * image.width + column);
          patches.values.push_back(inside ? x.values[index] : 0);
        }
      }
    }
    return patches;
  }

  static Tensor coordinate_grid(const Places& places, ImageSize image, Device) {
    Tensor grid{{places.count(), 2, places.patch.height, places.patch.width}, {}};
    for (const Place& place : places.at) {
      for (const bool is_x : {true, false}) {
        for (std::int64_t r = 0; r < places.patch.height; ++r) {
          for (std::int64_t c = 0; c < places.patch.width; ++c) {
            const auto row = static_cast<double>(r);
            const auto column = static_cast<double>(c);
            grid.values.push_back(
                static_cast<Scalar>(is_x ? normalised_position(place.to_image.column(row, column), image.width)
                                         : normalised_position(place.to_image.row(row, column), image.height)));
          }
        }
      }
    }
    return grid;
  }

  static Tensor fourier_features(const Tensor& x, std::span<const double> frequencies) {
    require(x.shape.size() == 4, "fourier_features", "rank 4", x.shape);
    std::vector<Tensor> features;
    for (const double frequency : frequencies) {
      for (const bool sine : {true, false}) {
        Tensor feature = x;
        for (Scalar& value : feature.values) {
          const double angle = frequency * static_cast<double>(value);
          value = static_cast<Scalar>(sine ? std::sin(angle) : std::cos(angle));
        }
        features.push_back(std::move(feature));
      }
    }
    return concat(features, 1);
  }

  static Tensor concat(std::span<const Tensor> parts, std::int64_t dimension) {
    require(!parts.empty(), "concat", "at least one tensor", {});
    const auto joined = static_cast<std::size_t>(dimension);
    require(joined < parts.front().shape.size(), "concat", "tensors with that dimension", parts.front().shape);
    Shape shape = parts.front().shape;
    shape[joined] = 0;
    for (const Tensor& part : parts) {
      Shape rest = part.shape;
      require(rest.size() == shape.size(), "concat", to_string(parts.front().shape), part.shape);
      rest[joined] = parts.front().shape[joined];
      require(rest == parts.front().shape, "concat", to_string(parts.front().shape), part.shape);
      shape[joined] += part.shape[joined];
    }
    const std::size_t rows = size_of({shape.begin(), shape.begin() + dimension});
    Tensor whole{shape, {}};
    for (std::size_t row = 0; row < rows; ++row) {
      for (const Tensor& part : parts) {
        const std::size_t length = part.values.size() / rows;
        const auto first = part.values.begin() + static_cast<std::ptrdiff_t>(row * length);
        whole.values.insert(whole.values.end(), first, first + static_cast<std::ptrdiff_t>(length));
      }
    }
    return whole;
  }

  static Tensor slice(const Tensor& x, std::int64_t dimension, std::int64_t first, std::int64_t count) {
    const auto cut = static_cast<std::size_t>(dimension);
    require(cut < x.shape.size() && first >= 0 && count >= 0 && first + count <= x.shape[cut], "slice",
            "a tensor that holds the slice", x.shape);
    Tensor part{x.shape, {}};
    part.shape[cut] = count;
    const auto inner = static_cast<std::int64_t>(size_of({x.shape.begin() + dimension + 1, x.shape.end()}));
    const auto rows = static_cast<std::int64_t>(size_of({x.shape.begin(), x.shape.begin() + dimension}));
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto begin = x.values.begin() + (row * x.shape[cut] + first) * inner;
      part.values.insert(part.values.end(), begin, begin + count * inner);
    }
    return part;
  }

  // Arithmetic per sample

  static Tensor scale(std::span<const double> a, const Tensor& x) {
    require(!x.shape.empty() && static_cast<std::int64_t>(a.size()) == x.shape[0], "scale", "one row per coefficient",
            x.shape);
    Tensor scaled = x;
    const std::size_t row = row_length(x);
    for (std::size_t i = 0; i < x.values.size(); ++i) scaled.values[i] *= static_cast<Scalar>(a[i / row]);
    return scaled;
  }

  static Tensor combine(std::span<const double> a, const Tensor& x, std::span<const double> b, const Tensor& y) {
    require(x.shape == y.shape, "combine", to_string(x.shape), y.shape);
    Tensor sum = scale(a, x);
    accumulate(sum, scale(b, y));
    return sum;
  }

  /// x times y elementwise; a y with one channel serves every channel of x.
  static Tensor multiply(const Tensor& x, const Tensor& y) {
    if (x.shape == y.shape) {
      Tensor product = x;
      for (std::size_t i = 0; i < x.values.size(); ++i) product.values[i] *= y.values[i];
      return product;
    }
    require(x.shape.size() == 4 && y.shape == Shape{x.shape[0], 1, x.shape[2], x.shape[3]}, "multiply",
            to_string(x.shape), y.shape);
    return multiply(x, concat(std::vector<Tensor>(static_cast<std::size_t>(x.shape[1]), y), 1));
  }

  static Tensor sum_per_sample(const Tensor& x) {
    require(x.shape.size() > 1, "sum_per_sample", "samples of at least one dimension", x.shape);
    std::vector<double> sums(static_cast<std::size_t>(x.shape[0]));
    for (std::size_t i = 0; i < x.values.size(); ++i) sums[i / row_length(x)] += static_cast<double>(x.values[i]);
    return made(std::span<const double>(sums), {x.shape[0]});
  }

  // Writing

  static Tensor clone(const Tensor& x) { return x; }

  static void assign(Tensor& inout, const Tensor& x) {
    require(inout.shape == x.shape, "assign", to_string(inout.shape), x.shape);
    inout.values = x.values;
  }

  static void set_zero(Tensor& inout) { std::fill(inout.values.begin(), inout.values.end(), Scalar{0}); }

  static void accumulate(Tensor& inout, const Tensor& x) {
    require(inout.shape == x.shape, "accumulate", to_string(inout.shape), x.shape);
    for (std::size_t i = 0; i < x.values.size(); ++i) inout.values[i] += x.values[i];
  }

  static void accumulate_patches(Tensor& images, const Tensor& patches, const Places& places) {
    require(images.shape.size() == 4 && images.shape[0] == places.count(), "accumulate_patches",
            "one image [C, H, W] per place", images.shape);
    const ImageSize image{images.shape[2], images.shape[3]};
    const Shape expected{images.shape[0], images.shape[1], places.patch.height, places.patch.width};
    require(patches.shape == expected, "accumulate_patches", to_string(expected), patches.shape);
    std::size_t from = 0;
    for (std::int64_t plane = 0; plane < images.shape[0] * images.shape[1]; ++plane) {
      const Place& place = places.at[static_cast<std::size_t>(plane / images.shape[1])];
      for (std::int64_t row = place.top; row < place.top + places.patch.height; ++row) {
        for (std::int64_t column = place.left; column < place.left + places.patch.width; ++column, ++from) {
          if (row < 0 || row >= image.height || column < 0 || column >= image.width) continue;
          images.values[static_cast<std::size_t>((plane * image.height + row) * image.width + column)] +=
              patches.values[from];
        }
      }
    }
  }

  static void blend(Tensor& inout, const Tensor& x, double weight) {
    require(inout.shape == x.shape, "blend", to_string(inout.shape), x.shape);
    const auto w = static_cast<Scalar>(weight);
    for (std::size_t i = 0; i < x.values.size(); ++i) inout.values[i] += w * (x.values[i] - inout.values[i]);
  }

  // Training under a flag

  static Tensor finite_flag(std::span<const Tensor> all) {
    bool finite = true;
    for (const Tensor& x : all) {
      for (const Scalar value : x.values) finite = finite && std::isfinite(value);
    }
    return {{}, {finite ? Scalar{1} : Scalar{0}}};
  }

  static bool read_flag(const Tensor& flag) { return scalar_of(flag, "read_flag") != 0; }

  static void adam_update(Tensor& value, Tensor& mean, Tensor& square, const Tensor& gradient, const Tensor& count,
                          const Tensor& flag, const AdamSettings& settings) {
    for (const Shape& shape : {mean.shape, square.shape, gradient.shape}) {
      require(shape == value.shape, "adam_update", to_string(value.shape), shape);
    }
    if (scalar_of(flag, "adam_update") == 0) return;
    const double steps = scalar_of(count, "adam_update");
    const double rate = settings.learning_rate / (1 - std::pow(settings.beta1, steps));
    const double square_correction = 1 - std::pow(settings.beta2, steps);
    for (std::size_t i = 0; i < value.values.size(); ++i) {
      const double g = gradient.values[i];
      const double m = settings.beta1 * mean.values[i] + (1 - settings.beta1) * g;
      const double v = settings.beta2 * square.values[i] + (1 - settings.beta2) * g * g;
      mean.values[i] = static_cast<Scalar>(m);
      square.values[i] = static_cast<Scalar>(v);
      value.values[i] -= static_cast<Scalar>(rate * m / (std::sqrt(v / square_correction) + settings.epsilon));
    }
  }

 private:
  static std::size_t size_of(const Shape& shape) { return static_cast<std::size_t>(element_count(shape)); }

  static std::size_t row_length(const Tensor& x) {
    return x.values.size() / std::max<std::size_t>(1, static_cast<std::size_t>(x.shape[0]));
  }

  template <class Host>
  static Tensor made(std::span<const Host> values, const Shape& shape) {
    require(values.size() == size_of(shape), "from_host", fmt::format("a shape of {} values", values.size()), shape);
    Tensor x{shape, std::vector<Scalar>(values.size())};
    std::transform(values.begin(), values.end(), x.values.begin(),
                   [](Host value) { return static_cast<Scalar>(value); });
    return x;
  }

  static double scalar_of(const Tensor& x, std::string_view primitive) {
    require(x.shape.empty(), primitive, "a tensor without dimensions", x.shape);
    return static_cast<double>(x.values.front());
  }

  static void require(bool holds, std::string_view primitive, std::string_view expected, const Shape& got) {
    if (!holds) throw ShapeError("VectorBackend", primitive, expected, to_string(got));
  }
};

static_assert(Backend<VectorBackend<float>> && Backend<VectorBackend<double>>,
              "VectorBackend lacks a primitive: see the concepts in backend/backend.hpp");

}  // namespace patchdiff
