// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <utility>

namespace patchdiff {

/// Options that can list their fields.
///
/// Such a struct has one static function template `describe(self, visit)` that calls
/// `visit(key, self.field, help)` for each field. Model files, command lines and error messages all read it.
template <class Options, class Visitor>
void describe(Options& options, Visitor&& visit) {
  Options::describe(options, std::forward<Visitor>(visit));
}

/// Options that `describe` can list.
template <class Options>
concept Described = requires(const Options& options) {
  Options::describe(options, [](std::string_view, const auto&, std::string_view) {});
};

}  // namespace patchdiff
