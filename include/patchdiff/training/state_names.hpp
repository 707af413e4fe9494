// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <patchdiff/core/error.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// The names of a model's tensors, in their order, for components that keep a value beside each.
class StateNames {
 public:
  template <HasState Net>
  explicit StateNames(Net& net) {
    net.visit_state([&](std::string_view name, auto&) { names_.emplace_back(name); });
  }

  std::size_t size() const noexcept { return names_.size(); }
  const std::string& operator[](std::size_t index) const { return names_[index]; }

  /// Calls f(index, value) for each tensor of a model with these names.
  ///
  /// Errors: ConfigError in the name of `component` for any other model, before the first call.
  template <HasState Net, class F>
  void visit(Net& net, std::string_view component, F&& f) const {
    std::size_t index = 0;
    net.visit_state([&](std::string_view name, auto&) {
      if (index >= size() || names_[index] != name) refuse(component, fmt::format("\"{}\"", name));
      ++index;
    });
    if (index != size()) refuse(component, fmt::format("{} of {} tensors", index, size()));
    index = 0;
    net.visit_state([&](std::string_view, auto& value) { f(index++, value); });
  }

 private:
  [[noreturn]] static void refuse(std::string_view component, std::string_view got) {
    throw ConfigError(component, "net", "the model that the average started from", got);
  }

  std::vector<std::string> names_{};
};

}  // namespace patchdiff
