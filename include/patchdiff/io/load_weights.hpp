// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/io/safetensors_reader.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// Gives a network, or whatever has tensors by name, the values of a file, where each name stands behind `prefix`.
///
/// Errors: DataError that lists every missing, unknown and wrongly shaped tensor; the network is as before then.
template <HasState Net>
void load_weights(Net& net, const SafetensorsReader& file, const std::string& path, std::string_view prefix) {
  using B = typename Net::Backend;
  std::set<std::string, std::less<>> expected;
  std::vector<std::string> faults;
  net.visit_state([&](std::string_view name, typename B::Tensor& value) {
    const std::string full = fmt::format("{}{}", prefix, name);
    const SafetensorsTensor* stored = file.find(full);
    if (stored == nullptr) {
      faults.push_back(fmt::format("no {}", full));
    } else if (stored->shape != B::shape(value)) {
      faults.push_back(
          fmt::format("{} of {} instead of {}", full, to_string(stored->shape), to_string(B::shape(value))));
    }
    expected.insert(full);
  });
  for (const SafetensorsTensor& tensor : file.tensors()) {
    if (!expected.contains(tensor.name)) faults.push_back(fmt::format("an unknown {}", tensor.name));
  }
  if (!faults.empty()) {
    throw DataError("load_weights", path, "the network's weights", fmt::format("{}", fmt::join(faults, "; ")));
  }
  net.visit_state([&](std::string_view name, typename B::Tensor& value) {
    const std::vector<double> values = file.at(fmt::format("{}{}", prefix, name)).template values<double>();
    B::assign(value, B::from_host(std::span<const double>(values), B::shape(value), B::device(value)));
  });
}

}  // namespace patchdiff
