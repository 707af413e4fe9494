// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string_view>

namespace patchdiff {

/// The host's log: where a component says what a user should know and no error is. An empty one is silence.
///
/// Messages have the form of errors: `component: argument: expected X, got Y`.
using Log = std::function<void(std::string_view)>;

}  // namespace patchdiff
