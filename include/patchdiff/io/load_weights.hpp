// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/io/safetensors_tensor.hpp>
#include <patchdiff/io/safetensors_type.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// The values of a stored tensor, exactly where the backend can hold them.
template <Backend B>
typename B::Tensor tensor_of(const SafetensorsTensor& stored, typename B::Device device) {
  const auto of = [&]<class Scalar>(const std::vector<Scalar>& values) {
    return B::from_host(std::span<const Scalar>(values), stored.shape, device);
  };
  const bool wide = stored.type == SafetensorsType::float64 || stored.type == SafetensorsType::int64;
  return wide ? of(stored.values<double>()) : of(stored.values<float>());
}

/// Gives a tensor the values of a file; where the backend can write to rows, a few of them at a time, so that no second
/// copy of a large tensor takes memory beside it.
template <Backend B>
void assign_stored(typename B::Tensor& value, const SafetensorsReader& file, const SafetensorsTensor& stored) {
  const auto read = [&](SafetensorsTensor part) {
    const std::vector<std::byte> bytes = file.read(part);
    part.data = bytes;
    return tensor_of<B>(part, B::device(value));
  };
  constexpr std::int64_t part_bytes = 1 << 18;
  if constexpr (requires { requires B::slices_are_views; }) {
    if (!stored.shape.empty()) {
      const std::int64_t rows = stored.shape[0], bytes = static_cast<std::int64_t>(stored.data.size());
      const std::int64_t most = std::max<std::int64_t>(1, rows * part_bytes / std::max<std::int64_t>(1, bytes));
      for (std::int64_t first = 0; first < rows; first += most) {
        const SafetensorsTensor part = stored.rows(first, std::min(most, rows - first));
        typename B::Tensor to = B::slice(value, 0, first, part.shape[0]);
        B::assign(to, read(part));
      }
      return;
    }
  }
  B::assign(value, read(stored));
}

/// Gives a network, or whatever has tensors by name, the values of a file, where each name stands behind `prefix`.
///
/// The network has its own copy afterwards, so the file may change or go. F64, F16, BF16 and I64 are converted.
/// Errors: DataError that lists every missing, unknown and wrongly shaped or typed tensor; the network is as before
/// then. DataError for a file that was written to since it was opened; if that was while it was read, some weights are
/// new.
template <HasState Net>
void load_weights(Net& net, const SafetensorsReader& file, const std::string& path, std::string_view prefix) {
  using B = typename Net::Backend;
  std::set<std::string, std::less<>> expected;
  std::vector<std::string> faults;
  net.visit_state([&](std::string_view name, typename B::Tensor& value) {
    const std::string full = str(prefix, name);
    const SafetensorsTensor* stored = file.find(full);
    if (stored == nullptr) {
      faults.push_back(str("no ", full));
    } else if (stored->shape != B::shape(value)) {
      faults.push_back(str(full, " of ", to_string(stored->shape), " instead of ", to_string(B::shape(value))));
    } else if (!stored->has_numbers()) {
      faults.push_back(str(full, " of type ", to_string(stored->type)));
    }
    expected.insert(full);
  });
  for (const SafetensorsTensor& tensor : file.tensors()) {
    if (!expected.contains(tensor.name)) faults.push_back(str("an unknown ", tensor.name));
  }
  if (!faults.empty()) {
    refuse<DataError>("load_weights", path, "the network's weights", join(faults, "; "));
  }
  file.require_unchanged();
  net.visit_state([&](std::string_view name, typename B::Tensor& value) {
    assign_stored<B>(value, file, file.at(str(prefix, name)));
  });
  file.require_unchanged();
}

}  // namespace patchdiff
