// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// The names and shapes of a model's tensors, in their order, for components that keep a value beside each.
class StateNames {
 public:
  template <HasState Net>
  explicit StateNames(Net& net) {
    net.visit_state([&](std::string_view name, auto& value) {
      names_.emplace_back(name);
      shapes_.push_back(Net::Backend::shape(value));
    });
  }

  std::size_t size() const noexcept { return names_.size(); }
  const std::string& operator[](std::size_t index) const { return names_[index]; }

  /// Calls f(index, value) for each tensor of a model with these names and shapes.
  ///
  /// Errors: ConfigError in the name of `component` for any other model, before the first call.
  template <HasState Net, class F>
  void visit(Net& net, std::string_view component, F&& f) const {
    std::size_t index = 0;
    net.visit_state([&](std::string_view name, auto& value) {
      if (index >= size() || names_[index] != name) refuse_net(component, str('"', name, '"'));
      const Shape shape = Net::Backend::shape(value);
      if (shapes_[index] != shape) refuse_net(component, str('"', name, "\" of ", to_string(shape)));
      ++index;
    });
    if (index != size()) refuse_net(component, str(index, " of ", size(), " tensors"));
    index = 0;
    net.visit_state([&](std::string_view, auto& value) { f(index++, value); });
  }

 private:
  [[noreturn]] static void refuse_net(std::string_view component, std::string_view got) {
    refuse<ConfigError>(component, "net", "a model with the tensors of the average", got);
  }

  std::vector<std::string> names_{};
  std::vector<Shape> shapes_{};
};

}  // namespace patchdiff
