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
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <Eigen/Core>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/backend/host_kernels.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>

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
    return fmt::format("host {}, {}", std::same_as<Scalar, float> ? "float" : "double",
                       device.executor.is_serial() ? "serial" : "on an executor");
  }

  static Tensor from_host(std::span<const float> values, const Shape& shape, Device device) {
    return converted(values, shape, device, "from_host");
  }
  static Tensor from_host(std::span<const double> values, const Shape& shape, Device device) {
    return converted(values, shape, device, "from_host");
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
    return converted(std::span(x.data(), static_cast<std::size_t>(x.size())), x.shape(), device, "narrow");
  }

  static EigenDevice<double> wide_device(Device device) { return {device.executor}; }

  static Tensor crop(const Tensor& x, const Places& places) {
    if (x.rank() != 4 || x.size(0) != places.count()) {
      refuse("crop", fmt::format("[{}, C, H, W], one image per place", places.count()), x.shape());
    }
    const ImageSize image{x.size(2), x.size(3)};
    const std::int64_t channels = x.size(1), pixels = pixel_count(places.patch);
    Tensor out({x.size(0), channels, places.patch.height, places.patch.width}, x.device());
    const auto* from = reinterpret_cast<const std::byte*>(x.data());
    auto* to = reinterpret_cast<std::byte*>(out.data());
    x.executor().parallel_for_blocks(x.size(0) * channels, rows_per_block(pixels),
                                     [&](std::int64_t plane, std::int64_t end) {
                                       for (; plane < end; ++plane) {
                                         host_kernels::crop_plane(from + plane * pixel_count(image) * bytes, image,
                                                                  places.at[static_cast<std::size_t>(plane / channels)],
                                                                  places.patch, bytes, to + plane * pixels * bytes);
                                       }
                                     });
    return out;
  }

  static Tensor coordinate_grid(const Places& places, ImageSize image, Device device) {
    const std::int64_t pixels = pixel_count(places.patch);
    Tensor out({places.count(), 2, places.patch.height, places.patch.width}, device);
    device.executor.parallel_for_blocks(
        places.count(), rows_per_block(2 * pixels), [&](std::int64_t sample, std::int64_t end) {
          for (; sample < end; ++sample) {
            host_kernels::coordinate_planes(places.at[static_cast<std::size_t>(sample)].to_image, places.patch, image,
                                            out.data() + sample * 2 * pixels);
          }
        });
    return out;
  }

  static Tensor fourier_features(const Tensor& x, std::span<const double> frequencies) {
    if (x.rank() != 4) refuse("fourier_features", "[N, C, h, w]", x.shape());
    const auto count = static_cast<std::int64_t>(frequencies.size());
    Tensor out({x.size(0), 2 * count * x.size(1), x.size(2), x.size(3)}, x.device());
    const std::int64_t length = x.sample_size();
    for_rows(x.executor(), x.size(0) * count, length, [&](std::int64_t row, std::int64_t first, std::int64_t part) {
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
    if (parts.empty()) refuse("concat", "at least one tensor", {0});
    const Tensor& head = parts.front();
    if (dimension < 0 || dimension >= head.rank()) {
      refuse("concat", fmt::format("tensors with dimension {}", dimension), head.shape());
    }
    const auto joined = static_cast<std::size_t>(dimension);
    Shape whole = head.shape();
    whole[joined] = 0;
    for (const Tensor& part : parts) {
      Shape rest = part.shape();
      if (rest.size() == whole.size()) rest[joined] = head.size(dimension);
      if (rest != head.shape()) refuse("concat", to_string(head.shape()), part.shape());
      whole[joined] += part.size(dimension);
    }
    Tensor out(whole, head.device());
    const std::int64_t rows = element_count({whole.begin(), whole.begin() + dimension});
    const std::int64_t length = rows == 0 ? 0 : out.size() / rows;
    out.executor().parallel_for_blocks(rows, rows_per_block(length), [&](std::int64_t row, std::int64_t end) {
      for (; row < end; ++row) {
        Scalar* to = out.data() + row * length;
        for (const Tensor& part : parts) {
          const std::int64_t share = part.size() / rows;
          to = std::copy_n(part.data() + row * share, share, to);
        }
      }
    });
    return out;
  }

  static Tensor slice(const Tensor& x, std::int64_t dimension, std::int64_t first, std::int64_t count) {
    if (dimension < 0 || dimension >= x.rank() || first < 0 || count < 0 || count > x.size(dimension) - first) {
      refuse("slice", fmt::format("a tensor that holds {} from {} on along dimension {}", count, first, dimension),
             x.shape());
    }
    Shape shape = x.shape();
    shape[static_cast<std::size_t>(dimension)] = count;
    Tensor out(shape, x.device());
    const std::int64_t rows = element_count({shape.begin(), shape.begin() + dimension});
    const std::int64_t inner = element_count({shape.begin() + dimension + 1, shape.end()});
    const std::int64_t stride = x.size(dimension) * inner, length = count * inner;
    x.executor().parallel_for_blocks(rows, rows_per_block(length), [&](std::int64_t row, std::int64_t end) {
      for (; row < end; ++row) std::copy_n(x.data() + row * stride + first * inner, length, out.data() + row * length);
    });
    return out;
  }

  static Tensor scale(std::span<const double> a, const Tensor& x) {
    require_coefficients("scale", a, x);
    Tensor out(x.shape(), x.device());
    for_rows(x.executor(), x.size(0), x.sample_size(), [&](std::int64_t row, std::int64_t first, std::int64_t count) {
      const std::int64_t at = row * x.sample_size() + first;
      out.array().segment(at, count) = coefficient(a, row) * x.array().segment(at, count);
    });
    return out;
  }

  static Tensor combine(std::span<const double> a, const Tensor& x, std::span<const double> b, const Tensor& y) {
    require_coefficients("combine", a, x);
    require_coefficients("combine", b, y);
    require_shape("combine", x.shape(), y.shape());
    Tensor out(x.shape(), x.device());
    for_rows(x.executor(), x.size(0), x.sample_size(), [&](std::int64_t row, std::int64_t first, std::int64_t count) {
      const std::int64_t at = row * x.sample_size() + first;
      out.array().segment(at, count) =
          coefficient(a, row) * x.array().segment(at, count) + coefficient(b, row) * y.array().segment(at, count);
    });
    return out;
  }

  static Tensor multiply(const Tensor& x, const Tensor& y) {
    Tensor out(x.shape(), x.device());
    if (x.shape() == y.shape()) {
      for_elements(x, [&](std::int64_t first, std::int64_t count) {
        out.array().segment(first, count) = x.array().segment(first, count) * y.array().segment(first, count);
      });
      return out;
    }
    if (x.rank() != 4) refuse("multiply", to_string(x.shape()), y.shape());
    const std::int64_t channels = x.size(1), plane = x.size(2) * x.size(3);
    require_shape("multiply", {x.size(0), 1, x.size(2), x.size(3)}, y.shape());
    for_rows(x.executor(), x.size(0) * channels, plane, [&](std::int64_t row, std::int64_t first, std::int64_t count) {
      out.array().segment(row * plane + first, count) =
          x.array().segment(row * plane + first, count) * y.array().segment(row / channels * plane + first, count);
    });
    return out;
  }

  /// Adds in double, in an order that depends on the length of a sample alone.
  static Tensor sum_per_sample(const Tensor& x) {
    if (x.rank() < 2) refuse("sum_per_sample", "samples of at least one dimension", x.shape());
    const std::int64_t length = x.sample_size(), parts = blocks_of(length);
    std::vector<double> sums(static_cast<std::size_t>(x.size(0) * parts));
    for_rows(x.executor(), x.size(0), length, [&](std::int64_t row, std::int64_t first, std::int64_t count) {
      std::array<double, 8> lanes{};
      const Scalar* from = x.data() + row * length + first;
      for (std::int64_t index = 0; index < count; ++index) lanes[static_cast<std::size_t>(index % 8)] += from[index];
      for (const double lane : lanes) sums[static_cast<std::size_t>(row * parts + first / block)] += lane;
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
    require_shape("assign", inout.shape(), x.shape());
    for_elements(inout, [&](std::int64_t first, std::int64_t count) {
      inout.array().segment(first, count) = x.array().segment(first, count);
    });
  }

  static void set_zero(Tensor& inout) {
    for_elements(inout, [&](std::int64_t first, std::int64_t count) { inout.array().segment(first, count).setZero(); });
  }

  static void accumulate(Tensor& inout, const Tensor& x) {
    require_shape("accumulate", inout.shape(), x.shape());
    for_elements(inout, [&](std::int64_t first, std::int64_t count) {
      inout.array().segment(first, count) += x.array().segment(first, count);
    });
  }

  static void blend(Tensor& inout, const Tensor& x, double weight) {
    require_shape("blend", inout.shape(), x.shape());
    const auto w = static_cast<Scalar>(weight);
    for_elements(inout, [&](std::int64_t first, std::int64_t count) {
      auto into = inout.array().segment(first, count);
      into += w * (x.array().segment(first, count) - into);
    });
  }

  static Tensor finite_flag(std::span<const Tensor> all) {
    std::atomic<bool> finite = true;
    for (const Tensor& x : all) {
      for_elements(x, [&](std::int64_t first, std::int64_t count) {
        const auto part = x.array().segment(first, count);
        if ((part - part).sum() != 0) finite = false;  // infinity - infinity is NaN
      });
    }
    Tensor flag({}, all.empty() ? Device{} : all.front().device());
    flag.data()[0] = finite ? Scalar{1} : Scalar{0};
    return flag;
  }
  static bool read_flag(const Tensor& flag) { return number(flag, "read_flag") != 0; }

  static void adam_update(Tensor& value, Tensor& mean, Tensor& square, const Tensor& gradient, const Tensor& count,
                          const Tensor& flag, const AdamSettings& settings) {
    for (const Tensor* x : {&std::as_const(mean), &std::as_const(square), &gradient}) {
      require_shape("adam_update", value.shape(), x->shape());
    }
    const double steps = number(count, "adam_update");
    if (number(flag, "adam_update") == 0) return;
    const auto beta1 = static_cast<Scalar>(settings.beta1), rest1 = static_cast<Scalar>(1 - settings.beta1);
    const auto beta2 = static_cast<Scalar>(settings.beta2), rest2 = static_cast<Scalar>(1 - settings.beta2);
    const auto rate = static_cast<Scalar>(settings.learning_rate / (1 - std::pow(settings.beta1, steps)));
    const auto root_scale = static_cast<Scalar>(1 / std::sqrt(1 - std::pow(settings.beta2, steps)));
    const auto epsilon = static_cast<Scalar>(settings.epsilon);
    for_elements(value, [&](std::int64_t first, std::int64_t part) {
      const auto g = gradient.array().segment(first, part);
      auto m = mean.array().segment(first, part);
      auto v = square.array().segment(first, part);
      m = beta1 * m + rest1 * g;
      v = beta2 * v + rest2 * g * g;
      value.array().segment(first, part) -= rate * m / (v.sqrt() * root_scale + epsilon);
    });
  }

 private:
  static constexpr std::int64_t bytes = sizeof(Scalar);

  /// Elements of one task. A constant, or the bits would depend on it.
  static constexpr std::int64_t block = 32768;

  static std::int64_t blocks_of(std::int64_t length) { return (length + block - 1) / block; }
  static std::int64_t rows_per_block(std::int64_t length) {
    return std::max<std::int64_t>(1, block / std::max<std::int64_t>(1, length));
  }

  /// Calls f(first, count) for the blocks of a tensor's elements.
  template <class F>
  static void for_elements(const Tensor& x, const F& f) {
    x.executor().parallel_for_blocks(x.size(), block,
                                     [&](std::int64_t first, std::int64_t end) { f(first, end - first); });
  }

  /// Calls f(row, first, count) for the blocks of each of `rows` rows of that length; short rows share a task.
  template <class F>
  static void for_rows(ExecutorReference executor, std::int64_t rows, std::int64_t length, const F& f) {
    const std::int64_t parts = blocks_of(length);
    executor.parallel_for_blocks(rows * parts, rows_per_block(length), [&](std::int64_t index, std::int64_t end) {
      for (; index < end; ++index) {
        const std::int64_t first = index % parts * block;
        f(index / parts, first, std::min(block, length - first));
      }
    });
  }

  template <class Number>
  static Tensor converted(std::span<const Number> values, const Shape& shape, Device device,
                          std::string_view primitive) {
    Tensor x(shape, device);
    const auto count = static_cast<std::int64_t>(values.size());
    if (count != x.size()) refuse(primitive, fmt::format("a shape of {} values", count), shape);
    const typename EigenTensor<Number>::ConstArray from(values.data(), count);
    for_elements(x, [&](std::int64_t first, std::int64_t part) {
      x.array().segment(first, part) = from.segment(first, part).template cast<Scalar>();
    });
    return x;
  }

  static Scalar coefficient(std::span<const double> a, std::int64_t sample) {
    return static_cast<Scalar>(a[static_cast<std::size_t>(sample)]);
  }

  static double number(const Tensor& x, std::string_view primitive) {
    if (x.rank() != 0) refuse(primitive, "a tensor without dimensions", x.shape());
    return static_cast<double>(x.data()[0]);
  }

  static void require_coefficients(std::string_view primitive, std::span<const double> a, const Tensor& x) {
    if (x.rank() < 1 || x.size(0) != static_cast<std::int64_t>(a.size())) {
      refuse(primitive, fmt::format("{} samples, one per coefficient", a.size()), x.shape());
    }
  }

  static void require_shape(std::string_view primitive, const Shape& expected, const Shape& got) {
    if (got != expected) refuse(primitive, to_string(expected), got);
  }

  [[noreturn]] static void refuse(std::string_view primitive, std::string_view expected, const Shape& got) {
    throw ShapeError("EigenBackend", primitive, expected, to_string(got));
  }
};

static_assert(Backend<EigenBackend<float>> && Backend<EigenBackend<double>>,
              "EigenBackend lacks a primitive: see the concepts in backend/backend.hpp");

}  // namespace patchdiff
