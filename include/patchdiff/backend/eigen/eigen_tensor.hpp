// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include <Eigen/Core>

#include <patchdiff/backend/eigen/executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>

namespace patchdiff {

static_assert(sizeof(Eigen::Index) >= sizeof(std::int64_t), "tensors of more than 2^31 elements need 64-bit indices");

/// The host's memory, and what runs the loops over it; its type names the scalar type.
///
/// `EigenDevice<float>{pool}` runs on a host's pool, `EigenDevice<float>{}` on the calling thread.
template <class Scalar>
struct EigenDevice {
  ExecutorReference executor{};

  friend bool operator==(const EigenDevice&, const EigenDevice&) = default;
};

/// A dense tensor in the host's memory, the last dimension fastest, with Eigen's view of its parts.
///
/// A copy shares the numbers with its original (`EigenBackend::clone` does not), and what writes through one writes
/// through both. A const tensor gives no access to write.
template <class Scalar>
class EigenTensor {
 public:
  using Array = Eigen::Map<Eigen::Array<Scalar, Eigen::Dynamic, 1>>;
  using ConstArray = Eigen::Map<const Eigen::Array<Scalar, Eigen::Dynamic, 1>>;
  using Matrix = Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
  using ConstMatrix = Eigen::Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

  /// A tensor without elements.
  EigenTensor() : EigenTensor({0}, {}) {}

  /// A tensor whose numbers are yet to be written.
  ///
  /// Errors: ShapeError for a negative size, or for more elements than memory can address.
  EigenTensor(Shape shape, EigenDevice<Scalar> device)
      : shape_(std::move(shape)), device_(device), size_(checked_size(shape_)), data_(allocate(size_)) {}

  const Shape& shape() const noexcept { return shape_; }
  EigenDevice<Scalar> device() const noexcept { return device_; }
  ExecutorReference executor() const noexcept { return device_.executor; }

  std::int64_t rank() const noexcept { return static_cast<std::int64_t>(shape_.size()); }
  std::int64_t size(std::int64_t dimension) const noexcept { return shape_[static_cast<std::size_t>(dimension)]; }

  /// The number of elements.
  std::int64_t size() const noexcept { return size_; }

  /// The elements of one index of the first dimension; rank 1 or more.
  std::int64_t sample_size() const noexcept { return size(0) == 0 ? 0 : size_ / size(0); }

  /// The first element, aligned to 64 bytes.
  Scalar* data() noexcept { return data_.get(); }
  const Scalar* data() const noexcept { return data_.get(); }

  /// All elements.
  Array array() noexcept { return Array(data(), size_); }
  ConstArray array() const noexcept { return ConstArray(data(), size_); }

  /// `count` elements from `first` on.
  Array array(std::int64_t first, std::int64_t count) noexcept { return Array(data() + first, count); }
  ConstArray array(std::int64_t first, std::int64_t count) const noexcept { return ConstArray(data() + first, count); }

  /// [shape[0], all else]: one row per sample; rank 1 or more.
  Matrix samples() noexcept { return Matrix(data(), size(0), sample_size()); }
  ConstMatrix samples() const noexcept { return ConstMatrix(data(), size(0), sample_size()); }

  /// [C, h w] of one sample: one row per channel; rank 4.
  Matrix channels(std::int64_t sample) noexcept {
    return Matrix(data() + sample * sample_size(), size(1), size(2) * size(3));
  }
  ConstMatrix channels(std::int64_t sample) const noexcept {
    return ConstMatrix(data() + sample * sample_size(), size(1), size(2) * size(3));
  }

  /// [h, w] of one channel of one sample; rank 4.
  Matrix plane(std::int64_t sample, std::int64_t channel) noexcept {
    return Matrix(data() + (sample * size(1) + channel) * size(2) * size(3), size(2), size(3));
  }
  ConstMatrix plane(std::int64_t sample, std::int64_t channel) const noexcept {
    return ConstMatrix(data() + (sample * size(1) + channel) * size(2) * size(3), size(2), size(3));
  }

 private:
  static constexpr std::align_val_t alignment{64};

  static std::int64_t checked_size(const Shape& shape) {
    std::int64_t largest = std::numeric_limits<std::ptrdiff_t>::max() / static_cast<std::int64_t>(sizeof(Scalar));
    for (const std::int64_t size : shape) {
      if (size < 0 || size > largest) {
        refuse<ShapeError>("EigenTensor", "shape", "sizes that memory can hold", to_string(shape));
      }
      if (size > 0) largest /= size;
    }
    return element_count(shape);
  }

  static std::shared_ptr<Scalar[]> allocate(std::int64_t size) {
    auto* memory = static_cast<Scalar*>(::operator new(static_cast<std::size_t>(size) * sizeof(Scalar), alignment));
    return {memory, [](Scalar* owned) { ::operator delete(owned, alignment); }};
  }

  Shape shape_;
  EigenDevice<Scalar> device_;
  std::int64_t size_ = 0;
  std::shared_ptr<Scalar[]> data_;
};

}  // namespace patchdiff
