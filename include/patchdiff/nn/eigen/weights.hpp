// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/eigen/eigen_tensor.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/nn/eigen/feature_map.hpp>

namespace patchdiff::layers {

/// A weight of a layer; shares its numbers with the list that made it.
template <class Scalar>
struct Weight {
  EigenTensor<Scalar> value;
  std::int64_t offset = 0;  ///< of its gradient in a column that holds those of all weights

  /// [out, all else].
  auto matrix() const { return value.samples(); }
  auto column() const { return value.array(); }

  auto gradient_matrix(Column<Scalar>& gradients) const {
    return typename EigenTensor<Scalar>::Matrix(gradients.data() + offset, value.size(0), value.sample_size());
  }
  auto gradient_column(Column<Scalar>& gradients) const { return gradients.segment(offset, value.size()); }
};

/// The weights of a network by name, in the order in which they were added, and their gradients.
template <class Scalar>
class WeightList {
 public:
  using Tensor = EigenTensor<Scalar>;

  explicit WeightList(EigenDevice<Scalar> device) : device_(device) {}

  /// Xavier-uniform weights [out, in, ...] times `gain`.
  ///
  /// Draws: weight number p of the list uses the stream `Purpose::initial_weights` p.
  Weight<Scalar> uniform(std::string name, const Shape& shape, double gain, RandomKey key) {
    const double fans = static_cast<double>(element_count(shape) / shape[0] + element_count(shape) / shape[1]);
    const double bound = gain * std::sqrt(6 / fans);
    const RandomStream stream(key, Purpose::initial_weights, 0, entries_.size());
    Weight<Scalar> weight = add(std::move(name), shape);
    for (std::int64_t i = 0; i < weight.value.size(); ++i) {
      weight.value.data()[i] = static_cast<Scalar>(bound * (2 * stream.uniform(static_cast<std::uint64_t>(i)) - 1));
    }
    return weight;
  }

  Weight<Scalar> constant(std::string name, std::int64_t size, double value) {
    Weight<Scalar> weight = add(std::move(name), {size});
    weight.value.array().setConstant(static_cast<Scalar>(value));
    return weight;
  }

  /// Calls `visit(name, value, gradient)` for each weight; gradients that do not exist yet are made, as zeros.
  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    for (Entry& entry : entries_) visit(std::string_view(entry.name), entry.value, gradient(entry));
  }

  /// Calls `visit(name, value)` for each weight.
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    for (Entry& entry : entries_) visit(std::string_view(entry.name), entry.value);
  }

  /// Takes the other list's numbers; it must hold weights of the same shapes.
  void assign(const WeightList& other) {
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].value.array() = other.entries_[i].value.array();
  }

  /// Adds the sum of columns of gradients, in their order.
  void add_gradients(std::span<const Column<Scalar>> parts) {
    std::int64_t offset = 0;
    for (Entry& entry : entries_) {
      EigenTensor<Scalar>& total = gradient(entry);
      device_.executor.parallel_for_blocks(total.size(), block, [&](std::int64_t begin, std::int64_t end) {
        for (const Column<Scalar>& part : parts) {
          Column<Scalar>::Map(total.data() + begin, end - begin) += part.segment(offset + begin, end - begin);
        }
      });
      offset += total.size();
    }
  }

  /// The number of weights, each number counted.
  std::int64_t size() const noexcept { return size_; }
  EigenDevice<Scalar> device() const noexcept { return device_; }

 private:
  static constexpr std::int64_t block = 8192;

  struct Entry {
    std::string name;
    Tensor value;
    std::optional<Tensor> gradient{};
  };

  Weight<Scalar> add(std::string name, const Shape& shape) {
    Weight<Scalar> weight{Tensor(shape, device_), size_};
    size_ += weight.value.size();
    entries_.push_back({std::move(name), weight.value});
    return weight;
  }

  Tensor& gradient(Entry& entry) const {
    if (!entry.gradient) {
      entry.gradient.emplace(entry.value.shape(), device_);
      entry.gradient->array().setZero();
    }
    return *entry.gradient;
  }

  EigenDevice<Scalar> device_;
  std::vector<Entry> entries_;
  std::int64_t size_ = 0;
};

}  // namespace patchdiff::layers
