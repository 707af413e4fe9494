// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// What LibTorch says of an error, in quotes; its messages go on with where in its code they arose.
inline std::string torch_reason(const std::exception& error) {
  const std::string_view text = error.what();
  return str('"', text.substr(0, text.find('\n')), '"');
}

}  // namespace patchdiff
