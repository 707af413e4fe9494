// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/eigen/blocks.hpp>
#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/host_kernels.hpp>
#include <patchdiff/backend/primitive_checks.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// Tensor work on the host by Eigen's arrays, in blocks that the device's executor runs.
///
/// The blocks do not depend on the executor, so neither do the bits. Tensors that do not fit each other are refused
/// with a ShapeError, before any work. See the concept `Backend` for what each primitive does.
template <std::floating_point Scalar>
struct EigenBackend {
  using Tensor = EigenTensor<Scalar>;
  using Device = EigenDevice<Scalar>;
  using Wide = EigenBackend<double>;

  static Shape shape(const Tensor& x) { return x.shape(); }

  static Device device(const Tensor& x) { return x.device(); }
  static std::string device_name(Device device) {
    return str("host ", std::same_as<Scalar, float> ? "float" : "double", ", ",
               device.executor.is_serial()
                   ? "serial"
                   : str("executor 0x", padded(reinterpret_cast<std::uintptr_t>(device.executor.executor_), 1, 16)));
  }

  static Tensor from_host(std::span<const float> values, const Shape& shape, Device device) {
    checks.from_host(values.size(), shape);
    return converted(values.data(), shape, device);
  }
  static Tensor from_host(std::span<const double> values, const Shape& shape, Device device) {
    checks.from_host(values.size(), shape);
    return converted(values.data(), shape, device);
  }

  static Tensor zeros(const Shape& shape, Device device) {
    Tensor x(shape, device);
    set_zero(x);
    return x;
  }

  static std::vector<double> to_host(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

  static EigenTensor<double> widen(const Tensor& x) { return EigenBackend<double>::narrow(x, wide_device(x.device())); }

  /// Also between devices. Shares the numbers of a tensor that is already what it shall be.
  template <class Other>
  static Tensor narrow(const EigenTensor<Other>& x, Device device) {
    if constexpr (std::same_as<Other, Scalar>) {
      if (x.device() == device) return x;
    }
    return converted(x.data(), x.shape(), device);
  }

  static EigenDevice<double> wide_device(Device device) { return {device.executor}; }

  static Tensor crop(const Tensor& x, const Places& places) {
    checks.crop(x.shape(), places);
    const ImageSize image{x.size(2), x.size(3)}, patch = places.patch;
    const std::int64_t channels = x.size(1);
    Tensor out({x.size(0), channels, patch.height, patch.width}, x.device());
    const auto* from = reinterpret_cast<const std::byte*>(x.data());
    auto* to = reinterpret_cast<std::byte*>(out.data());
    blocks::for_rows(x.executor(), x.size(0) * channels, pixel_count(patch), [&](std::int64_t plane) {
      const Place& place = places.at[static_cast<std::size_t>(plane / channels)];
      host_kernels::crop_plane(from + plane * pixel_count(image) * bytes, image, place, patch, bytes,
                               to + plane * pixel_count(patch) * bytes);
    });
    return out;
  }

  static Tensor coordinate_grid(const Places& places, ImageSize image, Device device) {
    Tensor out({places.count(), 2, places.patch.height, places.patch.width}, device);
    blocks::for_rows(device.executor, places.count(), out.sample_size(), [&](std::int64_t sample) {
      host_kernels::coordinate_planes(places.at[static_cast<std::size_t>(sample)].to_image, places.patch, image,
                                      out.data() + sample * out.sample_size());
    });
    return out;
  }

  static Tensor fourier_features(const Tensor& x, std::span<const double> frequencies) {
    checks.rank("fourier_features", 4, x.shape());
    const auto count = static_cast<std::int64_t>(frequencies.size());
    Tensor out({x.size(0), 2 * count * x.size(1), x.size(2), x.size(3)}, x.device());
    const std::int64_t length = x.sample_size();
    blocks::for_row_blocks(
        x.executor(), x.size(0) * count, length, [&](std::int64_t row, std::int64_t first, std::int64_t part) {
          const auto frequency = static_cast<Scalar>(frequencies[static_cast<std::size_t>(row % count)]);
          const Scalar* from = x.data() + row / count * length + first;
          Scalar* sine = out.data() + 2 * row * length + first;
          Scalar* cosine = sine + length;
          for (std::int64_t index = 0; index < part; ++index) {
            sine[index] = std::sin(frequency * from[index]);
            cosine[index] = std::cos(frequency * from[index]);
          }
        });
    return out;
  }

  static Tensor concat(std::span<const Tensor> parts, std::int64_t dimension) {
    if (parts.empty()) checks.refuse("concat", "at least one tensor", {});
    const Tensor& head = parts.front();
    for (const Tensor& part : parts) checks.concat(head.shape(), part.shape(), dimension);
    Shape whole = head.shape();
    whole[static_cast<std::size_t>(dimension)] = 0;
    for (const Tensor& part : parts) whole[static_cast<std::size_t>(dimension)] += part.size(dimension);
    Tensor out(whole, head.device());
    const std::int64_t rows = element_count({whole.begin(), whole.begin() + dimension});
    const std::int64_t length = out.size() / std::max<std::int64_t>(1, rows);
    blocks::for_rows(out.executor(), rows, length, [&](std::int64_t row) {
      Scalar* to = out.data() + row * length;
      for (const Tensor& part : parts)
        to = std::copy_n(part.data() + row * (part.size() / rows), part.size() / rows, to);
    });
    return out;
  }

  static Tensor slice(const Tensor& x, std::int64_t dimension, std::int64_t first, std::int64_t count) {
    checks.slice(x.shape(), dimension, first, count);
    Shape shape = x.shape();
    shape[static_cast<std::size_t>(dimension)] = count;
    Tensor out(shape, x.device());
    const std::int64_t rows = element_count({shape.begin(), shape.begin() + dimension});
    const std::int64_t inner = element_count({shape.begin() + dimension + 1, shape.end()});
    const std::int64_t stride = x.size(dimension) * inner, length = count * inner;
    blocks::for_rows(x.executor(), rows, length, [&](std::int64_t row) {
      std::copy_n(x.data() + row * stride + first * inner, length, out.data() + row * length);
    });
    return out;
  }

  static Tensor scale(std::span<const double> a, const Tensor& x) {
    checks.coefficients("scale", a, x.shape());
    Tensor out(x.shape(), x.device());
    for_sample_blocks(x, [&](std::int64_t sample, std::int64_t first, std::int64_t count) {
      out.array(first, count) = coefficient(a, sample) * x.array(first, count);
    });
    return out;
  }

  static Tensor combine(std::span<const double> a, const Tensor& x, std::span<const double> b, const Tensor& y) {
    checks.coefficients("combine", a, x.shape());
    checks.coefficients("combine", b, y.shape());
    checks.same("combine", x.shape(), y.shape());
    Tensor out(x.shape(), x.device());
    for_sample_blocks(x, [&](std::int64_t sample, std::int64_t first, std::int64_t count) {
      out.array(first, count) =
          coefficient(a, sample) * x.array(first, count) + coefficient(b, sample) * y.array(first, count);
    });
    return out;
  }

  static Tensor multiply(const Tensor& x, const Tensor& y) {
    checks.multiply(x.shape(), y.shape());
    Tensor out(x.shape(), x.device());
    if (x.size() == y.size()) {
      blocks::for_elements(x.executor(), x.size(), [&](std::int64_t first, std::int64_t count) {
        out.array(first, count) = x.array(first, count) * y.array(first, count);
      });
      return out;
    }
    const std::int64_t channels = x.size(1), plane = x.size(2) * x.size(3);
    blocks::for_row_blocks(x.executor(), x.size(0) * channels, plane,
                           [&](std::int64_t row, std::int64_t first, std::int64_t count) {
                             out.array(row * plane + first, count) =
                                 x.array(row * plane + first, count) * y.array(row / channels * plane + first, count);
                           });
    return out;
  }

  /// Adds in double, in an order that depends on the length of a sample alone.
  static Tensor sum_per_sample(const Tensor& x) {
    checks.sum_per_sample(x.shape());
    const std::int64_t length = x.sample_size(), parts = blocks::count(length);
    std::vector<double> sums(static_cast<std::size_t>(x.size(0) * parts));
    blocks::for_row_blocks(x.executor(), x.size(0), length,
                           [&](std::int64_t row, std::int64_t first, std::int64_t count) {
                             sums[static_cast<std::size_t>(row * parts + first / blocks::length)] =
                                 sum_of(x.data() + row * length + first, count, [](double value) { return value; });
                           });
    Tensor out({x.size(0)}, x.device());
    for (std::int64_t row = 0; row < x.size(0); ++row) {
      double sum = 0;
      for (std::int64_t part = 0; part < parts; ++part) sum += sums[static_cast<std::size_t>(row * parts + part)];
      out.data()[row] = static_cast<Scalar>(sum);
    }
    return out;
  }

  static Tensor clone(const Tensor& x) {
    Tensor copy(x.shape(), x.device());
    assign(copy, x);
    return copy;
  }
  static void assign(Tensor& inout, const Tensor& x) {
    checks.same("assign", inout.shape(), x.shape());
    blocks::for_elements(inout.executor(), inout.size(), [&](std::int64_t first, std::int64_t count) {
      inout.array(first, count) = x.array(first, count);
    });
  }
  static void set_zero(Tensor& inout) {
    blocks::for_elements(inout.executor(), inout.size(),
                         [&](std::int64_t first, std::int64_t count) { inout.array(first, count).setZero(); });
  }
  static void accumulate(Tensor& inout, const Tensor& x) {
    checks.same("accumulate", inout.shape(), x.shape());
    blocks::for_elements(inout.executor(), inout.size(), [&](std::int64_t first, std::int64_t count) {
      inout.array(first, count) += x.array(first, count);
    });
  }
  static void accumulate_patches(Tensor& images, const Tensor& patches, const Places& places) {
    checks.accumulate_patches(images.shape(), patches.shape(), places);
    const ImageSize image{images.size(2), images.size(3)}, patch = places.patch;
    const std::int64_t channels = images.size(1);
    blocks::for_rows(images.executor(), images.size(0) * channels, pixel_count(patch), [&](std::int64_t plane) {
      host_kernels::accumulate_plane(patches.data() + plane * pixel_count(patch), patch,
                                     places.at[static_cast<std::size_t>(plane / channels)], image,
                                     images.data() + plane * pixel_count(image));
    });
  }
  static void blend(Tensor& inout, const Tensor& x, double weight) {
    checks.same("blend", inout.shape(), x.shape());
    const auto w = static_cast<Scalar>(weight);
    blocks::for_elements(inout.executor(), inout.size(), [&](std::int64_t first, std::int64_t count) {
      auto into = inout.array(first, count);
      into += w * (x.array(first, count) - into);
    });
  }

  static Tensor finite_flag(std::span<const Tensor> all) {
    std::atomic<bool> finite = true;
    for (const Tensor& x : all) {
      blocks::for_elements(x.executor(), x.size(), [&](std::int64_t first, std::int64_t count) {
        const auto part = x.array(first, count);
        if ((part - part).sum() != 0) finite = false;  // infinity - infinity is NaN
      });
    }
    Tensor flag({}, all.empty() ? Device{} : all.front().device());
    flag.data()[0] = finite ? Scalar{1} : Scalar{0};
    return flag;
  }
  static bool read_flag(const Tensor& flag) { return number(flag, "read_flag") != 0; }

  /// Adds in double, in an order that depends on the lengths alone.
  static Tensor norm(std::span<const Tensor> all) {
    double squares = 0;
    for (const Tensor& x : all) {
      std::vector<double> sums(static_cast<std::size_t>(blocks::count(x.size())));
      blocks::for_elements(x.executor(), x.size(), [&](std::int64_t first, std::int64_t count) {
        sums[static_cast<std::size_t>(first / blocks::length)] =
            sum_of(x.data() + first, count, [](double value) { return value * value; });
      });
      for (const double sum : sums) squares += sum;
    }
    Tensor root({}, all.empty() ? Device{} : all.front().device());
    root.data()[0] = static_cast<Scalar>(std::sqrt(squares));
    return root;
  }
  static void clip_norm(Tensor& inout, const Tensor& norm, double most) {
    const auto factor = static_cast<Scalar>(most / std::max(number(norm, "clip_norm"), most));
    blocks::for_elements(inout.executor(), inout.size(),
                         [&](std::int64_t first, std::int64_t count) { inout.array(first, count) *= factor; });
  }

  static void adam_update(Tensor& value, Tensor& mean, Tensor& square, const Tensor& gradient, const Tensor& count,
                          const Tensor& flag, const AdamSettings& settings) {
    for (const Tensor& x : {mean, square, gradient}) checks.same("adam_update", value.shape(), x.shape());
    const double steps = number(count, "adam_update");
    if (number(flag, "adam_update") == 0) return;
    const auto beta1 = static_cast<Scalar>(settings.beta1), rest1 = static_cast<Scalar>(1 - settings.beta1);
    const auto beta2 = static_cast<Scalar>(settings.beta2), rest2 = static_cast<Scalar>(1 - settings.beta2);
    const auto rate = static_cast<Scalar>(settings.learning_rate / (1 - std::pow(settings.beta1, steps)));
    const auto root_scale = static_cast<Scalar>(1 / std::sqrt(1 - std::pow(settings.beta2, steps)));
    const auto epsilon = static_cast<Scalar>(settings.epsilon);
    blocks::for_elements(value.executor(), value.size(), [&](std::int64_t first, std::int64_t part) {
      const auto g = gradient.array(first, part);
      auto m = mean.array(first, part);
      auto v = square.array(first, part);
      m = beta1 * m + rest1 * g;
      v = beta2 * v + rest2 * g * g;
      value.array(first, part) -= rate * m / (v.sqrt() * root_scale + epsilon);
    });
  }

 private:
  static constexpr PrimitiveChecks checks{"EigenBackend"};
  static constexpr std::int64_t bytes = sizeof(Scalar);

  /// Calls f(sample, first, count) for blocks of elements that belong to one sample.
  template <class F>
  static void for_sample_blocks(const Tensor& x, const F& f) {
    blocks::for_row_blocks(x.executor(), x.size(0), x.sample_size(),
                           [&](std::int64_t sample, std::int64_t first, std::int64_t count) {
                             f(sample, sample * x.sample_size() + first, count);
                           });
  }

  template <class Number>
  static Tensor converted(const Number* values, const Shape& shape, Device device) {
    Tensor x(shape, device);
    blocks::for_elements(device.executor, x.size(), [&](std::int64_t first, std::int64_t count) {
      const typename EigenTensor<Number>::ConstArray from(values + first, count);
      x.array(first, count) = from.template cast<Scalar>();
    });
    return x;
  }

  /// The sum of f of each number, in double, by eight running sums.
  template <class F>
  static double sum_of(const Scalar* values, std::int64_t count, const F& f) {
    std::array<double, 8> lanes{};
    for (std::int64_t index = 0; index < count; ++index) {
      lanes[static_cast<std::size_t>(index % 8)] += f(static_cast<double>(values[index]));
    }
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    return sum;
  }

  static Scalar coefficient(std::span<const double> a, std::int64_t sample) {
    return static_cast<Scalar>(a[static_cast<std::size_t>(sample)]);
  }

  static double number(const Tensor& x, std::string_view primitive) {
    checks.rank(primitive, 0, x.shape());
    return static_cast<double>(x.data()[0]);
  }
};

static_assert(Backend<EigenBackend<float>> && Backend<EigenBackend<double>>,
              "EigenBackend lacks a primitive: see the concepts in backend/backend.hpp");

}  // namespace patchdiff
