// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/backend/host_kernels.hpp>
#include <patchdiff/backend/primitive_checks.hpp>
#include <patchdiff/backend/torch/cpu_kernels.hpp>
#include <patchdiff/backend/torch/operators.hpp>
#include <patchdiff/backend/torch/tensor_normals.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/normal_draws.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

class TorchBuffer;

/// Where a LibTorch tensor lives, and its scalar type.
struct TorchDevice {
  at::Device device = at::kCPU;
  at::ScalarType scalar = at::kFloat;

  at::TensorOptions options() const { return at::TensorOptions(device).dtype(scalar); }

  friend bool operator==(const TorchDevice&, const TorchDevice&) = default;
};

/// Tensor work by LibTorch's kernels, on any of its devices.
///
/// Only `to_host` and `read_flag` wait for the device. See the concept `Backend` for what each primitive does.
struct TorchBackend {
  using Tensor = at::Tensor;
  using Device = TorchDevice;
  using Wide = TorchBackend;
  using MessageBuffer = TorchBuffer;  ///< in parallel/torch/torch_buffer.hpp

  static Shape shape(const Tensor& x) { return x.sizes().vec(); }

  static Device device(const Tensor& x) { return {x.device(), x.scalar_type()}; }
  static std::string device_name(Device device) { return device.device.str() + ' ' + at::toString(device.scalar); }

  /// Converts on the host and does not wait.
  template <class Scalar>
  static Tensor from_host(std::span<const Scalar> values, const Shape& shape, Device device) {
    checks.from_host(values.size(), shape);
    return torch_ops::uploaded(values, shape, device.device, device.scalar);
  }
  static Tensor from_host(std::span<const float> values, const Shape& shape, Device device) {
    return from_host<float>(values, shape, device);
  }
  static Tensor from_host(std::span<const double> values, const Shape& shape, Device device) {
    return from_host<double>(values, shape, device);
  }

  static Tensor zeros(const Shape& shape, Device device) { return torch_ops::zeros(shape, device.options()); }

  /// Whether it is not the processor, whose kernel is faster.
  static bool draws_normals(Device device) { return !device.device.is_cpu(); }
  /// By operations on tensors of integers.
  template <class Scalar>
  static Tensor normals(const NormalDraws& draws, const Shape& shape, Device device) {
    return torch_normals::normals(draws, device.device)
        .to(at::CppTypeToScalarType<Scalar>::value)
        .to(device.scalar)
        .reshape(shape);
  }

  static std::vector<double> to_host(const Tensor& x) {
    const Tensor host = x.detach().to(at::kCPU, at::kDouble).contiguous();
    const auto* values = host.data_ptr<double>();
    return {values, values + host.numel()};
  }

  static Tensor widen(const Tensor& x) { return x.to(at::kDouble); }
  static Tensor narrow(const Tensor& x, Device device) { return x.to(device.options()); }
  static Device wide_device(Device device) { return {device.device, at::kDouble}; }

  static Tensor crop(const Tensor& x, const Places& places) {
    checks.crop(x.sizes(), places);
    if (x.device().is_cpu() && !(at::GradMode::is_enabled() && x.requires_grad())) {
      Tensor out = torch_ops::empty({x.size(0), x.size(1), places.patch.height, places.patch.width}, x.options());
      if (x.is_contiguous()) {
        torch_cpu::crop(x, places, out);
      } else {
        for_overlaps(x, out.zero_(), places,
                     [](const Tensor& in_image, const Tensor& in_patch) { in_patch.copy_(in_image); });
      }
      return out;
    }
    const std::int64_t margin = overhang(places, {x.size(2), x.size(3)});
    Tensor padded = x;
    if (margin > 0) {
      padded = x.new_zeros({x.size(0), x.size(1), x.size(2) + 2 * margin, x.size(3) + 2 * margin});
      padded.narrow(2, margin, x.size(2)).narrow(3, margin, x.size(3)).copy_(x);
    }
    std::vector<std::int64_t> tops, lefts;
    for (const Place& place : places.at) {
      tops.push_back(place.top + margin);
      lefts.push_back(place.left + margin);
    }
    const Tensor rows =
        torch_ops::ranges(tops, places.patch.height, x.device()).view({places.count(), 1, places.patch.height, 1});
    const Tensor columns =
        torch_ops::ranges(lefts, places.patch.width, x.device()).view({places.count(), 1, 1, places.patch.width});
    return padded.gather(2, rows.expand({-1, x.size(1), -1, padded.size(3)}))
        .gather(3, columns.expand({-1, x.size(1), places.patch.height, -1}));
  }

  static Tensor coordinate_grid(const Places& places, ImageSize image, Device device) {
    if (device.device.is_cpu() && (device.scalar == at::kFloat || device.scalar == at::kDouble)) {
      Tensor out = torch_ops::empty({places.count(), 2, places.patch.height, places.patch.width}, device.options());
      if (device.scalar == at::kFloat) {
        torch_cpu::coordinate_grid(places, image, out.data_ptr<float>());
      } else {
        torch_cpu::coordinate_grid(places, image, out.data_ptr<double>());
      }
      return out;
    }
    const Device precise{device.device, device.scalar == at::kDouble ? at::kDouble : at::kFloat};
    std::vector<double> maps;
    for (const Place& place : places.at) {
      const PixelMap& map = place.to_image;
      for (const double coefficient : {map.column_from_row, map.column_from_column, map.column_offset, map.row_from_row,
                                       map.row_from_column, map.row_offset}) {
        maps.push_back(coefficient);
      }
    }
    const Tensor map = from_host<double>(maps, {places.count(), 2, 3, 1, 1}, precise);
    const at::TensorOptions options = precise.options();
    const Tensor row = torch_ops::arange(places.patch.height, options).unsqueeze(1);
    const Tensor column = torch_ops::arange(places.patch.width, options);
    const Tensor position = map.select(2, 0).mul(row).add(map.select(2, 1).mul(column)).add(map.select(2, 2));
    // The extent is a tensor: CUDA divides by a host number through its reciprocal, which misses 1 at outer pixels.
    const auto normalised = [&](std::int64_t channel, std::int64_t extent) {
      const Tensor along = position.select(1, channel);
      return extent > 1 ? along.mul(2).div(torch_ops::scalar(static_cast<double>(extent - 1), options)).sub(1)
                        : along.mul(0);
    };
    return torch_ops::stack({normalised(0, image.width), normalised(1, image.height)}, 1).to(device.scalar);
  }

  static Tensor fourier_features(const Tensor& x, std::span<const double> frequencies) {
    checks.rank("fourier_features", 4, x.sizes());
    std::vector<Tensor> features;
    for (const double frequency : frequencies) {
      const Tensor angle = x.mul(frequency);
      features.push_back(angle.sin());
      features.push_back(angle.cos());
    }
    return torch_ops::concat(features, 1);
  }

  static Tensor concat(std::span<const Tensor> parts, std::int64_t dimension) {
    if (parts.empty()) checks.refuse("concat", "at least one tensor", {});
    for (const Tensor& part : parts) {
      checks.concat(parts.front().sizes(), part.sizes(), dimension);
      require_alike("concat", parts.front(), part);
    }
    return torch_ops::concat(at::TensorList(parts.data(), parts.size()), dimension);
  }
  static constexpr bool slices_are_views = true;
  static Tensor slice(const Tensor& x, std::int64_t dimension, std::int64_t first, std::int64_t count) {
    checks.slice(x.sizes(), dimension, first, count);
    return x.narrow(dimension, first, count);
  }

  static Tensor scale(std::span<const double> a, const Tensor& x) {
    checks.coefficients("scale", a, x.sizes());
    return x.mul(coefficients(a, x));
  }
  static Tensor combine(std::span<const double> a, const Tensor& x, std::span<const double> b, const Tensor& y) {
    checks.coefficients("combine", a, x.sizes());
    checks.coefficients("combine", b, y.sizes());
    require_like("combine", x, y);
    std::vector<double> both(a.begin(), a.end());
    both.insert(both.end(), b.begin(), b.end());
    const Tensor uploaded = coefficients(both, x);
    const auto count = static_cast<std::int64_t>(a.size());
    return x.mul(uploaded.narrow(0, 0, count)).addcmul_(y, uploaded.narrow(0, count, count));
  }
  static Tensor multiply(const Tensor& x, const Tensor& y) {
    checks.multiply(x.sizes(), y.sizes());
    require_alike("multiply", x, y);
    return x.mul(y);
  }
  static Tensor sum_per_sample(const Tensor& x) {
    checks.sum_per_sample(x.sizes());
    return x.flatten(1).sum(1);
  }

  static Tensor clone(const Tensor& x) { return x.detach().clone(); }
  static void assign(Tensor& inout, const Tensor& x) {
    const at::NoGradGuard no_grad;
    checks.same("assign", inout.sizes(), x.sizes());
    inout.copy_(x, /*non_blocking=*/true);
  }
  static void set_zero(Tensor& inout) {
    const at::NoGradGuard no_grad;
    inout.zero_();
  }
  static void accumulate(Tensor& inout, const Tensor& x) {
    const at::NoGradGuard no_grad;
    require_like("accumulate", inout, x);
    inout.add_(x);
  }
  /// LibTorch can differentiate through it.
  static void accumulate_patches(Tensor& images, const Tensor& patches, const Places& places) {
    checks.accumulate_patches(images.sizes(), patches.sizes(), places);
    require_alike("accumulate_patches", images, patches);
    for_overlaps(images, patches, places,
                 [](const Tensor& in_image, const Tensor& in_patch) { in_image.add_(in_patch); });
  }
  static void blend(Tensor& inout, const Tensor& x, double weight) {
    const at::NoGradGuard no_grad;
    require_like("blend", inout, x);
    if (inout.scalar_type() == at::kFloat && has_cpu_kernel(inout) && has_cpu_kernel(x)) {
      at::parallel_for(0, x.numel(), torch_cpu::grain, [&](std::int64_t first, std::int64_t last) {
        torch_cpu::blend(inout.data_ptr<float>(), x.data_ptr<float>(), static_cast<float>(weight), first, last);
      });
    } else {
      inout.lerp_(x, weight);
    }
  }

  static Tensor finite_flag(std::span<const Tensor> all) {
    const at::NoGradGuard no_grad;
    const auto options = at::TensorOptions(all.empty() ? at::Device(at::kCPU) : all.front().device()).dtype(at::kFloat);
    bool finite_on_cpu = true;
    Tensor flag = torch_ops::scalar(1, options);
    for (const Tensor& x : all) {
      if (has_cpu_kernel(x)) {
        finite_on_cpu = finite_on_cpu &&
                        (x.scalar_type() == at::kFloat ? torch_cpu::all_finite(x.data_ptr<float>(), 0, x.numel())
                                                       : torch_cpu::all_finite(x.data_ptr<double>(), 0, x.numel()));
      } else {
        flag.mul_(x.sub(x).eq(0).all());
      }
    }
    if (!finite_on_cpu) flag.zero_();
    return flag;
  }
  static bool read_flag(const Tensor& flag) { return flag.item<float>() != 0; }

  static Tensor norm(std::span<const Tensor> all) {
    const at::NoGradGuard no_grad;
    const Device result = all.empty() ? Device{} : device(all.front());
    double on_cpu = 0;
    Tensor squares = torch_ops::zeros({}, at::TensorOptions(result.device).dtype(at::kDouble));
    for (const Tensor& x : all) {
      if (has_cpu_kernel(x)) {
        on_cpu += x.scalar_type() == at::kFloat ? torch_cpu::sum_of_squares(x.data_ptr<float>(), x.numel())
                                                : torch_cpu::sum_of_squares(x.data_ptr<double>(), x.numel());
      } else {
        squares.add_(torch_ops::wide_norm(x).square());
      }
    }
    return squares.add_(on_cpu).sqrt_().to(result.scalar);
  }
  static void clip_norm(Tensor& inout, const Tensor& norm, double most) {
    const at::NoGradGuard no_grad;
    checks.rank("clip_norm", 0, norm.sizes());
    const double bound = std::min(most, largest(norm.scalar_type()));  // LibTorch refuses others
    // A quotient of tensors: one by a host number goes through its reciprocal, which misses 1.
    inout.mul_(torch_ops::scalar(bound, norm.options()).div(norm.clamp_min(bound)));
  }

  static void adam_update(Tensor& value, Tensor& mean, Tensor& square, const Tensor& gradient, const Tensor& count,
                          const Tensor& flag, const AdamSettings& settings) {
    const at::NoGradGuard no_grad;
    for (const Tensor& x : {mean, square, gradient}) checks.same("adam_update", value.sizes(), x.sizes());
    if (has_cpu_kernel(value) && has_cpu_kernel(gradient) && value.scalar_type() == gradient.scalar_type()) {
      if (*flag.data_ptr<float>() == 0) return;
      const double steps = *count.data_ptr<float>();
      const auto update = [&]<class Scalar>() {
        torch_cpu::adam_update<Scalar>(
            {value.data_ptr<Scalar>(), mean.data_ptr<Scalar>(), square.data_ptr<Scalar>(), gradient.data_ptr<Scalar>()},
            value.numel(), steps, settings);
      };
      value.scalar_type() == at::kFloat ? update.template operator()<float>() : update.template operator()<double>();
      return;
    }
    const Tensor keep = flag.to(value.scalar_type());
    const Tensor g = gradient.masked_fill(flag.eq(0), 0);
    mean.lerp_(g, keep.mul(1 - settings.beta1));
    square.lerp_(g.mul(g), keep.mul(1 - settings.beta2));
    const Tensor steps = count.clamp_min(1);
    const auto correction = [&](double beta) {
      return steps.mul(std::log(beta)).expm1().neg().to(value.scalar_type());
    };
    const Tensor denominator = square.div(correction(settings.beta2)).sqrt().add_(settings.epsilon);
    const Tensor rate = keep.mul(settings.learning_rate).div(correction(settings.beta1));
    value.sub_(mean.div(denominator).mul(rate));
  }

 private:
  static constexpr PrimitiveChecks checks{"TorchBackend"};

  /// LibTorch would widen the scalar type in silence.
  static void require_alike(std::string_view primitive, const Tensor& x, const Tensor& y) {
    if (x.scalar_type() == y.scalar_type() && x.device() == y.device()) return;
    refuse<ShapeError>("TorchBackend", primitive, device_name(device(x)), device_name(device(y)));
  }
  static void require_like(std::string_view primitive, const Tensor& x, const Tensor& y) {
    checks.same(primitive, x.sizes(), y.sizes());
    require_alike(primitive, x, y);
  }

  /// The largest finite number of a scalar type.
  static double largest(at::ScalarType type) {
    switch (type) {
      case at::kDouble: return std::numeric_limits<double>::max();
      case at::kHalf: return std::numeric_limits<at::Half>::max();
      case at::kBFloat16: return std::numeric_limits<at::BFloat16>::max();
      default: return std::numeric_limits<float>::max();
    }
  }

  static Tensor coefficients(std::span<const double> a, const Tensor& x) {
    Shape shape(static_cast<std::size_t>(x.dim()), 1);
    shape.front() = static_cast<std::int64_t>(a.size());
    return from_host<double>(a, shape, device(x));
  }

  /// Calls f(part of the image, the same part of the patch) for each sample; both are views.
  template <class F>
  static void for_overlaps(const Tensor& images, const Tensor& patches, const Places& places, const F& f) {
    for (std::int64_t sample = 0; sample < places.count(); ++sample) {
      const Place& place = places.at[static_cast<std::size_t>(sample)];
      Tensor in_image = images.select(0, sample), in_patch = patches.select(0, sample);
      const auto keep_inside = [&](std::int64_t dimension, std::int64_t corner, std::int64_t length) {
        const host_kernels::Overlap inside(corner, length, images.size(dimension + 1));
        const std::int64_t count = inside.end - inside.begin;
        in_image = in_image.narrow(dimension, inside.corner + inside.begin, count);
        in_patch = in_patch.narrow(dimension, inside.begin, count);
      };
      keep_inside(1, place.top, places.patch.height);
      keep_inside(2, place.left, places.patch.width);
      f(in_image, in_patch);
    }
  }

  /// How far patches reach over the image's border at most, in pixels; 0: not at all.
  static std::int64_t overhang(const Places& places, ImageSize image) {
    std::int64_t margin = 0;
    for (const Place& place : places.at) {
      margin = std::max({margin, -place.top, -place.left, place.top + places.patch.height - image.height,
                         place.left + places.patch.width - image.width});
    }
    return margin;
  }

  static bool has_cpu_kernel(const Tensor& x) {
    return x.device().is_cpu() && x.is_contiguous() &&
           (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
  }
};

static_assert(Backend<TorchBackend>, "TorchBackend lacks a primitive: see the concepts in backend/backend.hpp");

}  // namespace patchdiff
