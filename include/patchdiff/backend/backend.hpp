// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

/// Settings of Adam (Kingma and Ba, arXiv 1412.6980).
struct AdamSettings {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// What every backend is: a stateless struct with a tensor, a device value and a float64 companion.
///
/// A device travels with its tensors and names their scalar type; results take the device of the first argument.
template <class B>
concept BackendTypes = requires {
  typename B::Tensor;
  typename B::Device;
  typename B::Wide;
  typename B::Wide::Tensor;
  requires std::copyable<typename B::Tensor>;
  requires std::equality_comparable<typename B::Device>;
};

/// Creates tensors from host values and reads them back; reading waits for the device.
///
/// `device_name` is what error messages call a device and its scalar type.
template <class B>
concept TransfersTensors = requires(const typename B::Tensor& x, const Shape& shape, typename B::Device device,
                                    std::span<const float> floats, std::span<const double> doubles) {
  { B::shape(x) } -> std::same_as<Shape>;
  { B::device(x) } -> std::same_as<typename B::Device>;
  { B::device_name(device) } -> std::same_as<std::string>;
  { B::from_host(floats, shape, device) } -> std::same_as<typename B::Tensor>;
  { B::from_host(doubles, shape, device) } -> std::same_as<typename B::Tensor>;
  { B::zeros(shape, device) } -> std::same_as<typename B::Tensor>;
  { B::to_host(x) } -> std::same_as<std::vector<double>>;
};

/// Changes a tensor's scalar type to float64 and back.
template <class B>
concept ConvertsPrecision = requires(const typename B::Tensor& x, const typename B::Wide::Tensor& wide,
                                     typename B::Device device) {
  { B::widen(x) } -> std::same_as<typename B::Wide::Tensor>;
  { B::narrow(wide, device) } -> std::same_as<typename B::Tensor>;
  { B::wide_device(device) } -> std::same_as<typename B::Wide::Device>;
};

/// Cuts and joins tensors.
///
/// `crop` cuts one patch per sample at (top, left), with zeros outside of the image; `accumulate_patches(images,
/// patches, places)`, its transpose, adds them back, without what lies outside. `coordinate_grid` evaluates each
/// place's map (CoordEncoder has the formula); `concat` and `slice` work along one dimension. A backend whose slices
/// show what is written to them in the tensor says so, as `static constexpr bool slices_are_views = true`.
template <class B>
concept CutsTensors = requires(const typename B::Tensor& x, typename B::Tensor& inout,
                               std::span<const typename B::Tensor> parts, const Places& places, ImageSize image,
                               typename B::Device device) {
  { B::crop(x, places) } -> std::same_as<typename B::Tensor>;
  B::accumulate_patches(inout, x, places);
  { B::coordinate_grid(places, image, device) } -> std::same_as<typename B::Tensor>;
  { B::concat(parts, std::int64_t{1}) } -> std::same_as<typename B::Tensor>;
  { B::slice(x, std::int64_t{1}, std::int64_t{0}, std::int64_t{1}) } -> std::same_as<typename B::Tensor>;
};

/// Evaluates sin(f x) and cos(f x) of [N, C, h, w]: for each frequency first all sines, then all cosines.
template <class B>
concept ComputesFourierFeatures = requires(const typename B::Tensor& x, std::span<const double> frequencies) {
  { B::fourier_features(x, frequencies) } -> std::same_as<typename B::Tensor>;
};

/// Arithmetic with one host coefficient per sample: `scale` is a_n x_n, `combine` is a_n x_n + b_n y_n.
///
/// `multiply` is elementwise; a y [N, 1, h, w] serves every channel of x. `sum_per_sample` gives [N].
template <class B>
concept ComputesPerSample = requires(std::span<const double> a, const typename B::Tensor& x,
                                     const typename B::Tensor& y) {
  { B::scale(a, x) } -> std::same_as<typename B::Tensor>;
  { B::combine(a, x, a, y) } -> std::same_as<typename B::Tensor>;
  { B::multiply(x, y) } -> std::same_as<typename B::Tensor>;
  { B::sum_per_sample(x) } -> std::same_as<typename B::Tensor>;
};

/// Writes into tensors that the library made or visits as parameters: `assign`, `set_zero`, `accumulate` (x += y) and
/// `blend` (x += weight (y - x)).
template <class B>
concept WritesTensors = requires(typename B::Tensor& inout, const typename B::Tensor& x) {
  { B::clone(x) } -> std::same_as<typename B::Tensor>;
  B::assign(inout, x);
  B::set_zero(inout);
  B::accumulate(inout, x);
  B::blend(inout, x, 0.5);
};

/// Training under a flag that stays on the device: 1 when all values are finite, else 0.
///
/// `adam_update(value, mean, square, gradient, count, flag, settings)` leaves its tensors as they are where the flag is
/// 0; `count` [] is the number of steps that this one completes. `read_flag` waits for the device.
template <class B>
concept TrainsUnderFlag = requires(typename B::Tensor& inout, const typename B::Tensor& x,
                                   std::span<const typename B::Tensor> all, const AdamSettings& settings) {
  { B::finite_flag(all) } -> std::same_as<typename B::Tensor>;
  { B::read_flag(x) } -> std::same_as<bool>;
  B::adam_update(inout, inout, inout, x, x, x, settings);
};

/// Keeps gradients short without waiting: `norm` is the root of the sum of all squares [], added in double, and
/// `clip_norm(inout, norm, most)` multiplies by most / max(norm, most).
///
/// A norm is finite only where all values are; under one that is not, clipped values mean nothing.
template <class B>
concept ClipsNorms = requires(typename B::Tensor& inout, const typename B::Tensor& x,
                              std::span<const typename B::Tensor> all) {
  { B::norm(all) } -> std::same_as<typename B::Tensor>;
  B::clip_norm(inout, x, 1.0);
};

/// Everything that the neutral components ask of a backend.
template <class B>
concept Backend = BackendTypes<B> && TransfersTensors<B> && ConvertsPrecision<B> && CutsTensors<B> &&
    ComputesFourierFeatures<B> && ComputesPerSample<B> && WritesTensors<B> && TrainsUnderFlag<B> && ClipsNorms<B>;

}  // namespace patchdiff
