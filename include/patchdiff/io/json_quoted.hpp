// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <patchdiff/core/error.hpp>

namespace patchdiff {

/// A text as a JSON string, in quotes; `component` is the one that error messages name.
///
/// Errors: DataError for a text that is not UTF-8.
inline std::string json_quoted(std::string_view component, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    refuse<DataError>(component, "text", "UTF-8",
                      nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }
}

}  // namespace patchdiff
