// SPDX-License-Identifier: Apache-2.0
#pragma once

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

}  // namespace patchdiff
